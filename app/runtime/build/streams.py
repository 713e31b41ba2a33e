"""Build the Faust roles: fanout, health and sequencer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from app.adapters.faust.stream import FaustStream
from app.adapters.json_schemas import JsonSchemaValidator
from app.adapters.kafka.offsets import KafkaOffsets
from app.core.table_recovery import TRUSTED_S, TableRecovery, later_state
from app.core.topics.names import TopicName
from app.ports.history import OffsetQueries
from app.roles.fanout.role import FanoutRole, TracedFanoutRole
from app.roles.fanout.rules import FanoutRules, OutputTopics
from app.roles.fanout.sequences import later_count
from app.roles.health.role import HealthRole
from app.roles.sequencer.role.worker import SequencerRole
from app.roles.sequencer.table_versions import later_queue
from app.runtime.build.shared import Shared

#: the tables, each with the seconds after which its store may forget an entry (None: never). Fan-out must know
#: everything that events.raw still holds (7 days, and a segment's day); the changelog has the same retention.
TABLES: dict[str, int | None] = {"idempotency": 9 * 86_400, "ordering": None, "positions": None}


def fanout_role(shared: Shared) -> FanoutRole:
    """A new fan-out role; each run of it has a Faust app of its own."""
    source = shared.name(TopicName.EVENTS_RAW)
    make = FanoutRole if shared.tracer is None else partial(TracedFanoutRole, shared.tracer)
    return make(
        app=partial(
            _stream,
            shared,
            "fanout",
            source,
            folder="tables",
            tables=TABLES,
            recovery={"ordering": TableRecovery(later_count)},
        ),
        producer=shared.producer,
        feed=shared.feed,
        schemas=JsonSchemaValidator(),
        meter=shared.meter,
        clock=shared.clock,
        rules=FanoutRules(
            topic=source,
            outputs=OutputTopics(
                deliveries=shared.name(TopicName.DELIVERIES),
                ordered=shared.name(TopicName.DELIVERIES_ORDERED),
                dead_letters=shared.name(TopicName.DELIVERIES_DEAD),
                rejected=shared.name(TopicName.EVENTS_REJECTED),
                duplicates=shared.name(TopicName.EVENTS_DUPLICATES),
            ),
            ttl_ms=round(shared.settings.idempotency_ttl_hours * 3_600_000),
            max_event_bytes=shared.settings.max_event_bytes,
        ),
        group=shared.group("fanout"),
        subjects=shared.subjects,
    )


def health_role(shared: Shared) -> HealthRole:
    """A new health role; each run of it has a Faust app of its own."""

    @asynccontextmanager
    async def ends() -> AsyncIterator[OffsetQueries]:
        offsets = KafkaOffsets(
            shared.clients,
            client_id="hookstream-health",
            events=shared.name(TopicName.EVENTS_RAW),
            fanout_group=shared.group("fanout"),
        )
        try:
            await offsets.start()
            yield offsets
        finally:
            await offsets.stop()

    return HealthRole(
        app=partial(
            _stream,
            shared,
            "health",
            shared.name(TopicName.ENDPOINTS_SIGNALS),
            folder="health",
            tables={"state": None},
            recovery={"state": TableRecovery(later_state, TRUSTED_S)},
        ),
        producer=shared.producer,
        feed=shared.feed,
        ends=ends,
        meter=shared.meter,
        topics=shared.topics,
    )


def sequencer_role(shared: Shared) -> SequencerRole:
    """A new sequencer role; each run of it has a Faust app of its own."""
    source = shared.name(TopicName.DELIVERIES_ORDERED)
    return SequencerRole(
        app=partial(
            _stream,
            shared,
            "sequencer",
            source,
            folder="queues",
            tables={"queues": None, "waiting": None},
            recovery={"queues": TableRecovery(later_queue, TRUSTED_S)},
        ),
        producer=shared.producer,
        feed=shared.feed,
        meter=shared.meter,
        deliveries=shared.name(TopicName.DELIVERIES),
        ordered=source,
        dead=shared.name(TopicName.DELIVERIES_DEAD),
        clock=shared.clock,
        max_record_bytes=shared.topics.max_record_bytes,
    )


def _stream(
    shared: Shared,
    role: str,
    source: str,
    *,
    folder: str,
    tables: Mapping[str, int | None],
    recovery: Mapping[str, TableRecovery],
) -> FaustStream:
    """A Faust app over `source`, with its tables in a folder of the data folder."""
    settings = shared.settings
    stream = FaustStream(
        group=shared.group(role),
        clients=shared.clients,
        source_topic=source,
        partitions=shared.producer.partitions(source),
        data_dir=str(settings.data_dir / folder),
        store=settings.table_store,
        client_id=f"hookstream-{role}",
        agent=role,
        tables=tables,
        recovery=recovery,
        session_s=settings.session_timeout,
        instance=settings.instance_id,
    )
    stream.on_assigned = lambda: shared.meter.count("rebalances_total", role=role)
    return stream
