"""What the roles of one process share: its producer, its directory, its egress policy, the address of its API."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.core.directory import Directory
from app.core.egress import EgressPolicy
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.metrics import Meter
from app.profiles.catalog import PROFILES
from app.runtime.reduction import reduced_for
from app.settings import Settings

#: attempt records may gather for that long: nobody waits for them but the commit
_ATTEMPTS_LINGER_S = 0.005


class ListenAddress:
    """Where the API listens; a restart of the role keeps the port that it had."""

    def __init__(self, host: str, port: int, *, elsewhere: bool) -> None:
        self.host = host
        self.port = port
        #: the port was not asked for: if it is taken, any free one will do
        self.elsewhere = elsewhere


def ports_of(settings: Settings, clients: KafkaClients) -> set[int]:
    """The ports of Kafka and of the database."""
    ports = {int(server.rpartition(":")[2]) for server in clients.connection.bootstrap.split(",") if ":" in server}
    url = urlsplit(settings.database_url.reveal()) if settings.database_url else None
    if url is not None and url.scheme.startswith("postgres"):
        ports.add(url.port or 5432)
    return ports


def producer_of(clients: KafkaClients, topics: Topics, meter: Meter) -> KafkaProducer:
    """The producer of all roles in this process."""
    return KafkaProducer(
        clients,
        client_id="hookstream",
        meter=meter,
        linger_s={topics.name(TopicName.ATTEMPTS): _ATTEMPTS_LINGER_S},
        reduce=partial(reduced_for, topics),
    )


def egress_policy(settings: Settings) -> EgressPolicy:
    """Where requests to endpoints may go."""
    return EgressPolicy(
        allow=EgressPolicy.networks(settings.egress_allow),
        allow_http=settings.allow_http,
        ports=frozenset(map(int, settings.egress_ports)) or None,
    )


def directory_feed(clients: KafkaClients, topics: Topics, meter: Meter) -> KafkaDirectoryFeed:
    """The directory of this process, kept in step with the registry topic."""
    return KafkaDirectoryFeed(
        clients,
        topics.name(TopicName.REGISTRY),
        client_id="hookstream-directory",
        meter=meter,
        directory=Directory(lambda profile: PROFILES[profile].opt_in if profile in PROFILES else ()),
    )
