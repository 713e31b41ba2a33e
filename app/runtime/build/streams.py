"""Build the fan-out role on Faust."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.adapters.clock import SystemClock
from app.adapters.faust.stream import FaustStream
from app.adapters.json_schemas import JsonSchemaValidator
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
from app.roles.fanout.plan import FanoutRules
from app.roles.fanout.role import FanoutRole
from app.roles.fanout.sequences import later_count
from app.roles.health.role import HealthRole
from app.roles.sequencer.role.worker import SequencerRole
from app.roles.sequencer.table_versions import later_line
from app.settings import Settings

#: the tables, each with the seconds after which its store may forget (None: never). What events.raw still holds
#: (7 days, and a segment's day) has to be known; the changelog's own retention says the same.
TABLES: dict[str, int | None] = {"idempotency": 9 * 86_400, "ordering": None, "positions": None}


def fanout_role(
    settings: Settings,
    bootstrap: str,
    topics: Topics,
    group: str,
    log: KafkaProducer,
    feed: KafkaDirectoryFeed,
    meter: Meter,
) -> FanoutRole:
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(TopicName.EVENTS_RAW)

    def stream() -> FaustStream:
        return FaustStream(
            group=group,
            bootstrap=bootstrap,
            source_topic=source,
            partitions=log.partitions(source),
            data_dir=str(settings.data_dir / "tables"),
            store=settings.table_store,
            client_id="hookstream-fanout",
            agent="fanout",
            tables=TABLES,
            recovery={"ordering": TableRecovery(later_count)},
            session_s=settings.session_timeout,
            instance=settings.instance_id,
        )

    return FanoutRole(
        app=stream,
        log_=log,
        feed=feed,
        schemas=JsonSchemaValidator(),
        meter=meter,
        clock=SystemClock(),
        rules=FanoutRules(
            topic=source,
            ttl_ms=round(settings.idempotency_ttl_hours * 3_600_000),
            max_event_bytes=settings.max_event_bytes,
        ),
        group=group,
        deliveries=topics.name(TopicName.DELIVERIES),
        ordered=topics.name(TopicName.DELIVERIES_ORDERED),
        aside=topics.name(TopicName.DELIVERIES_DEAD),
        rejected=topics.name(TopicName.EVENTS_REJECTED),
        duplicates=topics.name(TopicName.EVENTS_DUPLICATES),
    )


def health_role(
    settings: Settings,
    bootstrap: str,
    topics: Topics,
    group: Callable[[str], str],
    log: KafkaProducer,
    feed: DirectoryFeed,
    meter: Meter,
) -> HealthRole:
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(TopicName.ENDPOINTS_SIGNALS)

    def stream() -> FaustStream:
        return FaustStream(
            group=group("health"),
            bootstrap=bootstrap,
            source_topic=source,
            partitions=log.partitions(source),
            data_dir=str(settings.data_dir / "health"),
            store=settings.table_store,
            client_id="hookstream-health",
            agent="health",
            tables={"state": None},
            session_s=settings.session_timeout,
            instance=settings.instance_id,
            recovery={"state": TableRecovery(later_state, TRUSTED_S)},
        )

    @asynccontextmanager
    async def ends() -> AsyncIterator[OffsetQueries]:
        asked = KafkaOffsets(
            bootstrap,
            client_id="hookstream-health",
            events=topics.name(TopicName.EVENTS_RAW),
            fanout_group=group("fanout"),
        )
        try:
            await asked.start()
            yield asked
        finally:
            await asked.stop()

    return HealthRole(app=stream, log_=log, feed=feed, ends=ends, meter=meter, topics=topics)


def sequencer_role(
    settings: Settings,
    bootstrap: str,
    topics: Topics,
    group: str,
    log: KafkaProducer,
    feed: DirectoryFeed,
    meter: Meter,
    clock: Clock,
) -> SequencerRole:
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(TopicName.DELIVERIES_ORDERED)

    def stream() -> FaustStream:
        return FaustStream(
            group=group,
            bootstrap=bootstrap,
            source_topic=source,
            partitions=log.partitions(source),
            data_dir=str(settings.data_dir / "lines"),
            store=settings.table_store,
            client_id="hookstream-sequencer",
            agent="sequencer",
            tables={"line": None, "held": None},
            session_s=settings.session_timeout,
            instance=settings.instance_id,
            recovery={"line": TableRecovery(later_line, TRUSTED_S)},
        )

    return SequencerRole(
        app=stream,
        log_=log,
        feed=feed,
        meter=meter,
        deliveries=topics.name(TopicName.DELIVERIES),
        ordered=source,
        dead=topics.name(TopicName.DELIVERIES_DEAD),
        clock=clock,
        max_record_bytes=topics.max_record_bytes,
    )
