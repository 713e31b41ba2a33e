"""Build the replay role on Kafka."""

from __future__ import annotations

from functools import partial

from app.adapters.json_schemas import JsonSchemaValidator
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.adapters.kafka.history import KafkaHistoryReader, commands
from app.adapters.kafka.producer import KafkaProducer
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.registry import DirectoryFeed
from app.roles.replay.role.appender import ReplayContext
from app.roles.replay.role.coordinator import ReplayRole
from app.roles.replay.role.selector import ReplaySources
from app.settings import Settings


def archive(
    settings: Settings,
    clients: KafkaClients,
    topics: Topics,
    fanout_group: str,
    sequencer_group: str,
    log: KafkaProducer,
    feed: DirectoryFeed,
    clock: Clock,
) -> ReplaySources:
    """The log as it was, with connections of its own that nobody has made yet."""
    deliveries = topics.name(TopicName.DELIVERIES)
    return ReplaySources(
        reader=KafkaHistoryReader(
            clients,
            fanout_group=fanout_group,
            events=topics.name(TopicName.EVENTS_RAW),
            sequencer_group=sequencer_group,
            ordered=topics.name(TopicName.DELIVERIES_ORDERED),
        ),
        feed=feed,
        clock=clock,
        topics=topics,
        partition_of=lambda endpoint: log.partition_for(deliveries, endpoint.encode()),
        changelog=f"{fanout_group}-idempotency-changelog",
        max_event_bytes=settings.max_event_bytes,
        violation=JsonSchemaValidator().violation,
    )


def replay_role(
    settings: Settings,
    clients: KafkaClients,
    topics: Topics,
    group: str,
    past: ReplaySources,
    log: KafkaProducer,
    clock: Clock,
) -> ReplayRole:
    """A fresh role. The one partition of registry.commands names the worker; nothing is read of it."""
    calls = partial(
        commands,
        clients,
        commands=topics.name(TopicName.REGISTRY_COMMANDS),
        replies=topics.name(TopicName.REGISTRY_REPLIES),
        clock=clock,
    )
    source = KafkaGroupConsumer(
        clients,
        group=group,
        client_id="hookstream-replay",
        topics=[topics.name(TopicName.REGISTRY_COMMANDS)],
        session_s=settings.session_timeout,
        instance=settings.instance_id,
        hold=True,
    )
    return ReplayRole(source, ReplayContext(sources=past, producer=log, commands=calls))
