"""Build the fan-out role on Faust."""

from __future__ import annotations

from app.adapters.clock import SystemClock
from app.adapters.faust.stream import FaustStream
from app.adapters.json_schemas import JsonSchemas
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaLog
from app.core.table_recovery import Recovery
from app.core.topics.declarations import Topics
from app.core.topics.names import Names
from app.ports.metrics import Meter
from app.roles.fanout.plan import Rules
from app.roles.fanout.role import FanoutRole
from app.roles.fanout.sequences import later_count
from app.settings import Settings

#: the tables, each with the seconds after which its store may forget (None: never). What events.raw still holds
#: (7 days, and a segment's day) has to be known; the changelog's own retention says the same.
TABLES: dict[str, int | None] = {"idempotency": 9 * 86_400, "ordering": None, "positions": None}


def fanout_role(
    settings: Settings,
    bootstrap: str,
    topics: Topics,
    group: str,
    log: KafkaLog,
    feed: KafkaDirectoryFeed,
    meter: Meter,
) -> FanoutRole:
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(Names.EVENTS_RAW)

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
            recovery={"ordering": Recovery(later_count)},
            session_s=settings.session_timeout,
            instance=settings.instance_id,
        )

    return FanoutRole(
        app=stream,
        log_=log,
        feed=feed,
        schemas=JsonSchemas(),
        meter=meter,
        clock=SystemClock(),
        rules=Rules(
            topic=source,
            ttl_ms=round(settings.idempotency_ttl_hours * 3_600_000),
            max_event_bytes=settings.max_event_bytes,
        ),
        group=group,
        deliveries=topics.name(Names.DELIVERIES),
        ordered=topics.name(Names.DELIVERIES_ORDERED),
        aside=topics.name(Names.DELIVERIES_DEAD),
        rejected=topics.name(Names.EVENTS_REJECTED),
        duplicates=topics.name(Names.EVENTS_DUPLICATES),
    )
