"""Build the replay role on Kafka."""

from __future__ import annotations

from functools import partial

from app.adapters.json_schemas import JsonSchemas
from app.adapters.kafka_log import KafkaLog
from app.adapters.kafka_replay import KafkaReplayReader, commands
from app.adapters.kafka_source import KafkaSource
from app.adapters.kafka_table import KafkaDirectoryFeed
from app.core.topics import Names, Topics
from app.ports import Clock
from app.roles.replay import ReplayRole, Surroundings
from app.settings import Settings


def replay_role(
    settings: Settings,
    bootstrap: str,
    topics: Topics,
    group: str,
    fanout_group: str,
    log: KafkaLog,
    feed: KafkaDirectoryFeed,
    clock: Clock,
) -> ReplayRole:
    """A fresh role. The one partition of registry.commands names the worker; nothing is read of it."""
    deliveries = topics.name(Names.DELIVERIES)
    calls = partial(
        commands,
        bootstrap,
        commands=topics.name(Names.REGISTRY_COMMANDS),
        replies=topics.name(Names.REGISTRY_REPLIES),
        clock=clock,
    )
    return ReplayRole(
        KafkaSource(
            bootstrap, group=group, client_id="hookstream-replay", topics=[topics.name(Names.REGISTRY_COMMANDS)],
            session_s=settings.session_timeout, hold=True,
        ),
        Surroundings(
            reader=KafkaReplayReader(bootstrap, fanout_group=fanout_group, events=topics.name(Names.EVENTS_RAW)),
            log=log,
            feed=feed,
            commands=calls,
            clock=clock,
            topics=topics,
            partition_of=lambda endpoint: log.partition_for(deliveries, endpoint.encode()),
            changelog=f"{fanout_group}-idempotency-changelog",
            max_event_bytes=settings.max_event_bytes,
            violation=JsonSchemas().violation,
        ),
    )  # fmt: skip
