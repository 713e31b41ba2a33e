"""Build the Faust roles: fanout, health and sequencer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from app.adapters.clock import SystemClock
from app.adapters.faust.stream import FaustStream
from app.adapters.json_schemas import JsonSchemaValidator
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.offsets import KafkaOffsets
from app.adapters.kafka.producer import KafkaProducer
from app.core.table_recovery import TRUSTED_S, TableRecovery, later_state
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.history import OffsetQueries
from app.ports.metrics import Meter
from app.ports.registry import DirectoryFeed
from app.roles.fanout.role import FanoutRole
from app.roles.fanout.rules import FanoutRules, OutputTopics
from app.roles.fanout.sequences import later_count
from app.roles.health.role import HealthRole
from app.roles.sequencer.role.worker import SequencerRole
from app.roles.sequencer.table_versions import later_queue
from app.settings import Settings

#: the tables, each with the seconds after which its store may forget (None: never). What events.raw still holds
#: (7 days, and a segment's day) has to be known; the changelog's own retention says the same.
TABLES: dict[str, int | None] = {"idempotency": 9 * 86_400, "ordering": None, "positions": None}


def fanout_role(
    settings: Settings,
    clients: KafkaClients,
    topics: Topics,
    group: str,
    log: KafkaProducer,
    feed: KafkaDirectoryFeed,
    meter: Meter,
) -> FanoutRole:
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(TopicName.EVENTS_RAW)

    stream = partial(
        _stream,
        settings,
        clients,
        source,
        log,
        meter,
        role="fanout",
        group=group,
        folder="tables",
        tables=TABLES,
        recovery={"ordering": TableRecovery(later_count)},
    )

    return FanoutRole(
        app=stream,
        producer=log,
        feed=feed,
        schemas=JsonSchemaValidator(),
        meter=meter,
        clock=SystemClock(),
        rules=FanoutRules(
            topic=source,
            outputs=OutputTopics(
                deliveries=topics.name(TopicName.DELIVERIES),
                ordered=topics.name(TopicName.DELIVERIES_ORDERED),
                dead_letters=topics.name(TopicName.DELIVERIES_DEAD),
                rejected=topics.name(TopicName.EVENTS_REJECTED),
                duplicates=topics.name(TopicName.EVENTS_DUPLICATES),
            ),
            ttl_ms=round(settings.idempotency_ttl_hours * 3_600_000),
            max_event_bytes=settings.max_event_bytes,
        ),
        group=group,
    )


def health_role(
    settings: Settings,
    clients: KafkaClients,
    topics: Topics,
    group: Callable[[str], str],
    log: KafkaProducer,
    feed: DirectoryFeed,
    meter: Meter,
) -> HealthRole:
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(TopicName.ENDPOINTS_SIGNALS)

    stream = partial(
        _stream,
        settings,
        clients,
        source,
        log,
        meter,
        role="health",
        group=group("health"),
        folder="health",
        tables={"state": None},
        recovery={"state": TableRecovery(later_state, TRUSTED_S)},
    )

    @asynccontextmanager
    async def ends() -> AsyncIterator[OffsetQueries]:
        asked = KafkaOffsets(
            clients,
            client_id="hookstream-health",
            events=topics.name(TopicName.EVENTS_RAW),
            fanout_group=group("fanout"),
        )
        try:
            await asked.start()
            yield asked
        finally:
            await asked.stop()

    return HealthRole(app=stream, producer=log, feed=feed, ends=ends, meter=meter, topics=topics)


def sequencer_role(
    settings: Settings,
    clients: KafkaClients,
    topics: Topics,
    group: str,
    log: KafkaProducer,
    feed: DirectoryFeed,
    meter: Meter,
    clock: Clock,
) -> SequencerRole:
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(TopicName.DELIVERIES_ORDERED)

    stream = partial(
        _stream,
        settings,
        clients,
        source,
        log,
        meter,
        role="sequencer",
        group=group,
        folder="queues",
        tables={"queues": None, "waiting": None},
        recovery={"queues": TableRecovery(later_queue, TRUSTED_S)},
    )

    return SequencerRole(
        app=stream,
        producer=log,
        feed=feed,
        meter=meter,
        deliveries=topics.name(TopicName.DELIVERIES),
        ordered=source,
        dead=topics.name(TopicName.DELIVERIES_DEAD),
        clock=clock,
        max_record_bytes=topics.max_record_bytes,
    )


def _stream(
    settings: Settings,
    clients: KafkaClients,
    source: str,
    log: KafkaProducer,
    meter: Meter,
    *,
    role: str,
    group: str,
    folder: str,
    tables: Mapping[str, int | None],
    recovery: Mapping[str, TableRecovery],
) -> FaustStream:
    """A Faust app over `source`, with its tables in a folder of the data folder."""
    stream = FaustStream(
        group=group,
        clients=clients,
        source_topic=source,
        partitions=log.partitions(source),
        data_dir=str(settings.data_dir / folder),
        store=settings.table_store,
        client_id=f"hookstream-{role}",
        agent=role,
        tables=tables,
        recovery=recovery,
        session_s=settings.session_timeout,
        instance=settings.instance_id,
    )
    stream.on_assigned = lambda: meter.count("rebalances_total", role=role)
    return stream
