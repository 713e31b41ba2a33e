"""Build the replay role."""

from __future__ import annotations

from functools import partial

from app.adapters.json_schemas import JsonSchemaValidator
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.adapters.kafka.history import KafkaHistoryReader, commands
from app.core.topics.names import TopicName
from app.roles.replay.role.appender import ReplayContext
from app.roles.replay.role.coordinator import ReplayRole
from app.roles.replay.role.selector import ReplaySources
from app.runtime.build.shared import Shared


def replay_sources(shared: Shared) -> ReplaySources:
    """Readers of older records, which connect at the first call."""
    deliveries = shared.name(TopicName.DELIVERIES)
    fanout_group = shared.group("fanout")
    return ReplaySources(
        reader=KafkaHistoryReader(
            shared.clients,
            fanout_group=fanout_group,
            events=shared.name(TopicName.EVENTS_RAW),
            sequencer_group=shared.group("sequencer"),
            ordered=shared.name(TopicName.DELIVERIES_ORDERED),
        ),
        feed=shared.feed,
        clock=shared.clock,
        topics=shared.topics,
        partition_of=lambda endpoint: shared.producer.partition_for(deliveries, endpoint.encode()),
        changelog=f"{fanout_group}-idempotency-changelog",
        max_event_bytes=shared.settings.max_event_bytes,
        violation=JsonSchemaValidator().violation,
        subjects=shared.subjects,
    )


def replay_role(shared: Shared) -> ReplayRole:
    """A new replay role. The one partition of registry.commands elects the worker; nothing is read from it."""
    settings = shared.settings
    source = KafkaGroupConsumer(
        shared.clients,
        group=shared.group("replay"),
        client_id="hookstream-replay",
        topics=[shared.name(TopicName.REGISTRY_COMMANDS)],
        session_s=settings.session_timeout,
        instance=settings.instance_id,
        hold=True,
    )
    send_commands = partial(
        commands,
        shared.clients,
        commands=shared.name(TopicName.REGISTRY_COMMANDS),
        replies=shared.name(TopicName.REGISTRY_REPLIES),
        clock=shared.clock,
    )
    context = ReplayContext(sources=replay_sources(shared), producer=shared.producer, commands=send_commands)
    return ReplayRole(source, context)
