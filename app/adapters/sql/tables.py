"""The read model's tables, with one index for each way in which lists are queried.

The migrations in `migrations/versions` create them; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text, text

from app.core.readmodel.hourly_stats import LATENCY_BOUNDS_MS

metadata = MetaData()

#: texts are compared bytewise on both databases, so that prefixes are index spans and cursors are stable
TEXT = Text().with_variant(Text(collation="C"), "postgresql")

#: the offset up to which each partition was read; its row is locked by the writer of the partition's rows
offsets = Table(
    "projection_offsets",
    metadata,
    Column("topic", TEXT, primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("newest_ms", BigInteger, nullable=False),
)

#: the columns are the fields of core/readmodel/snapshot.py's DeliverySnapshot
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("tenant", TEXT, nullable=False),
    Column("mode", TEXT, nullable=False),
    Column("endpoint_id", TEXT, nullable=False),
    Column("event_id", TEXT, nullable=False),
    Column("event_type", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("next_attempt_at_ms", BigInteger),
    Column("status", Integer),
    Column("result", TEXT),
    Column("error", TEXT),
    Column("duration_ms", Double),
    Column("reason", TEXT),
    Column("replay_id", TEXT),
    Column("sequence", BigInteger),
    Column("ordering_key", TEXT),
    Column("source_partition", Integer),
    Column("source_offset", BigInteger),
    Column("arrival", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Column("stage", BigInteger, nullable=False),
    Column("rank", BigInteger, nullable=False),
    Column("last_number", BigInteger, nullable=False),
    Column("last_rank", BigInteger, nullable=False),
    #: of its latest record in deliveries.dead; NULL: it has none, or was written by an older version
    Column("dead_offset", BigInteger),
)
_d = deliveries.c
_page = (_d.created_at_ms, _d.id)
Index("deliveries_by_time", _d.tenant, _d.mode, *_page)
Index("deliveries_by_endpoint", _d.tenant, _d.mode, _d.endpoint_id, *_page)
Index("deliveries_by_state", _d.tenant, _d.mode, _d.state, *_page)
Index("deliveries_by_endpoint_state", _d.tenant, _d.mode, _d.endpoint_id, _d.state, *_page)
Index("deliveries_by_type", _d.tenant, _d.mode, _d.event_type, *_page)
Index("deliveries_by_event", _d.tenant, _d.mode, _d.event_id, *_page)
#: spelt as in the queries, because SQLite compares the text of the condition
FAILED = text("result <> 'ok'")
DEAD = text("state = 'dead'")
REPLAYED = text("replay_id IS NOT NULL")
Index("deliveries_by_failure", _d.tenant, _d.mode, _d.result, *_page, sqlite_where=FAILED, postgresql_where=FAILED)
Index(
    "deliveries_by_replay",
    _d.tenant,
    _d.mode,
    _d.replay_id,
    *_page,
    sqlite_where=REPLAYED,
    postgresql_where=REPLAYED,
)
Index(
    "deliveries_dead",
    _d.tenant,
    _d.mode,
    _d.updated_at_ms,
    _d.endpoint_id,
    _d.reason,
    _d.result,
    _d.status,
    sqlite_where=DEAD,
    postgresql_where=DEAD,
)
Index("deliveries_by_age", _d.updated_at_ms)

#: the columns are the fields of core/readmodel/event_index.py's IndexedEvent
events = Table(
    "events",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("mode", TEXT, nullable=False),
    Column("event_id", TEXT, nullable=False),
    Column("event_type", TEXT, nullable=False),
    Column("ordering_key", TEXT),
    Column("outcome", TEXT),
    Column("reason", TEXT),
    Column("detail", TEXT),
    Column("first_partition", Integer),
    Column("first_offset", BigInteger),
    Column("first_ms", BigInteger),
)
_e = events.c
_event_page = (_e.at_ms, _e.partition, _e.offset)
DROPPED = text("outcome IS NOT NULL")
Index("events_by_time", _e.tenant, _e.mode, *_event_page)
Index("events_by_type", _e.tenant, _e.mode, _e.event_type, *_event_page)
Index("events_by_id", _e.event_id, *_event_page)
#: the operator's list, and retention
Index("events_by_age", *_event_page)
Index(
    "events_dropped",
    _e.tenant,
    _e.mode,
    _e.outcome,
    *_event_page,
    sqlite_where=DROPPED,
    postgresql_where=DROPPED,
)
Index("events_dropped_of_all", _e.outcome, *_event_page, sqlite_where=DROPPED, postgresql_where=DROPPED)

attempts = Table(
    "attempts",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("delivery_id", TEXT, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("trigger", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("result", TEXT, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("duration_ms", Double, nullable=False),
    Column("connect_ms", Double, nullable=False),
    Column("first_byte_ms", Double, nullable=False),
    Column("url", TEXT, nullable=False),
    Column("status", Integer),
    Column("error", TEXT),
    Column("next_attempt_at_ms", BigInteger),
    #: JSON
    Column("response_headers", TEXT),
    Column("response_body", TEXT),
    #: the record's time, by which it was counted; NULL: written by an older version
    Column("at_ms", BigInteger),
)
Index("attempts_by_delivery", attempts.c.delivery_id, attempts.c.number)

#: `endpoint_id` empty: the tenant's sum over one partition of `attempts`
hours = Table(
    "hours",
    metadata,
    Column("tenant", TEXT, primary_key=True),
    Column("mode", TEXT, primary_key=True),
    Column("endpoint_id", TEXT, primary_key=True),
    Column("begins_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("part", Integer, primary_key=True, autoincrement=False),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("attempts", "failed_attempts", "delivered", "dead", "cancelled")
    ),
    *(Column(f"within_{bound}", BigInteger, nullable=False) for bound in (*LATENCY_BOUNDS_MS, "any")),
)
Index("hours_by_age", hours.c.begins_ms)
OF_TENANTS = text("endpoint_id = ''")
#: the operator's overview
Index(
    "hours_of_tenants",
    hours.c.begins_ms,
    hours.c.tenant,
    hours.c.mode,
    sqlite_where=OF_TENANTS,
    postgresql_where=OF_TENANTS,
)

#: records of `attempts` that ended a delivery without a request, counted in `hours` as well
unsent_ends = Table(
    "unsent_ends",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("delivery_id", TEXT, nullable=False),
    Column("tenant", TEXT, nullable=False),
    Column("mode", TEXT, nullable=False),
    Column("endpoint_id", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
Index("unsent_ends_by_age", unsent_ends.c.at_ms)
Index("unsent_ends_by_delivery", unsent_ends.c.delivery_id)

#: at most one row: hours before that time were counted by a version that did not store `at_ms`
counting = Table("counting", metadata, Column("exact_from_ms", BigInteger, primary_key=True, autoincrement=False))

notices = Table(
    "notices",
    metadata,
    Column("tenant", TEXT, primary_key=True),
    Column("id", TEXT, primary_key=True),
    Column("mode", TEXT, nullable=False),
    Column("kind", TEXT, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("endpoint_id", TEXT),
    Column("summary", TEXT, nullable=False),
    #: JSON
    Column("data", TEXT, nullable=False),
)
_n = notices.c
Index("notices_by_time", _n.tenant, _n.mode, _n.at_ms, _n.id)
Index("notices_by_endpoint", _n.tenant, _n.mode, _n.endpoint_id, _n.at_ms, _n.id)
Index("notices_by_age", _n.at_ms)

#: pages follow the order of the log, within a tenant and mode
audit = Table(
    "audit",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", TEXT, nullable=False),
    Column("mode", TEXT, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", TEXT, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("entity", TEXT, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("detail", TEXT, nullable=False),
    #: JSON
    Column("before", TEXT),
    Column("after", TEXT),
)
_u = audit.c
Index("audit_by_tenant", _u.tenant, _u.mode, _u.offset)
Index("audit_by_age", _u.at_ms)

#: in the order in which they may be emptied
ALL = (offsets, attempts, deliveries, hours, unsent_ends, counting, notices, audit, events)
DURATION_COLUMNS = tuple(f"within_{bound}" for bound in (*LATENCY_BOUNDS_MS, "any"))
COUNT_COLUMNS = ("attempts", "failed_attempts", "delivered", "dead", "cancelled", *DURATION_COLUMNS)
