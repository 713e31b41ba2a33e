"""What a process gives to its roles, for tests that run a single role."""

from __future__ import annotations

from app.adapters.clock import SystemClock, SystemDice
from app.adapters.dependencies import Dependencies
from app.adapters.http.sender import HttpSender
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.cluster import KafkaClusterInspector
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.secrets.keyring import AesKeyRing
from app.ports.metrics import Meter
from app.runtime.build.shared import ListenAddress, Shared, egress_policy
from app.runtime.topics import topics_of
from app.settings import Settings

_RING = f"test:{'A' * 43}="


def shared_by(
    settings: Settings, clients: KafkaClients, producer: KafkaProducer, feed: KafkaDirectoryFeed, meter: Meter
) -> Shared:
    """These parts, and others that are not started."""
    clock, topics, policy = SystemClock(), topics_of(settings), egress_policy(settings)
    return Shared(
        settings=settings,
        topics=topics,
        clients=clients,
        producer=producer,
        feed=feed,
        sender=HttpSender(policy),
        keyring=AesKeyRing(_RING),
        egress=policy,
        clock=clock,
        randomness=SystemDice(),
        meter=meter,
        endpoint_meter=None,
        tracer=None,
        dependencies=Dependencies(clock, meter),
        address=ListenAddress("127.0.0.1", 0, elsewhere=True),
        inspector=KafkaClusterInspector(clients, topics, {}, clock, dict),
        probes=lambda application: application,
    )
