"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_COUNTS = (
    "attempts",
    "failed_attempts",
    "delivered",
    "dead",
    "cancelled",
    "within_5",
    "within_10",
    "within_25",
    "within_50",
    "within_100",
    "within_250",
    "within_500",
    "within_1000",
    "within_2500",
    "within_5000",
    "within_10000",
    "within_30000",
    "within_any",
)


def upgrade() -> None:
    """Make everything."""
    _projection_offsets()
    _attempts()
    _deliveries()
    _deliveries_indexes()
    _hours()
    _notices()


def _projection_offsets() -> None:
    op.create_table(
        "projection_offsets",
        sa.Column("topic", TEXT, primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("newest_ms", sa.BigInteger(), nullable=False),
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("delivery_id", TEXT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("trigger", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("result", TEXT, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=False),
        sa.Column("connect_ms", sa.Double(), nullable=False),
        sa.Column("first_byte_ms", sa.Double(), nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", TEXT),
        sa.Column("next_attempt_at_ms", sa.BigInteger()),
        sa.Column("response_headers", TEXT),
        sa.Column("response_body", TEXT),
    )
    op.create_index("attempts_by_delivery", "attempts", ["delivery_id", "number"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("mode", TEXT, nullable=False),
        sa.Column("endpoint_id", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger()),
        sa.Column("status", sa.Integer()),
        sa.Column("result", TEXT),
        sa.Column("error", TEXT),
        sa.Column("duration_ms", sa.Double()),
        sa.Column("reason", TEXT),
        sa.Column("replay_id", TEXT),
        sa.Column("sequence", sa.BigInteger()),
        sa.Column("ordering_key", TEXT),
        sa.Column("source_partition", sa.Integer()),
        sa.Column("source_offset", sa.BigInteger()),
        sa.Column("arrival", sa.BigInteger()),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.Column("last_rank", sa.BigInteger(), nullable=False),
    )


def _deliveries_indexes() -> None:
    op.create_index("deliveries_by_age", "deliveries", ["updated_at_ms"])
    op.create_index("deliveries_by_endpoint", "deliveries", ["tenant", "mode", "endpoint_id", "created_at_ms", "id"])
    op.create_index(
        "deliveries_by_endpoint_state", "deliveries", ["tenant", "mode", "endpoint_id", "state", "created_at_ms", "id"]
    )
    op.create_index("deliveries_by_event", "deliveries", ["tenant", "mode", "event_id", "created_at_ms", "id"])
    _partial("deliveries_by_failure", "result <> 'ok'", ["tenant", "mode", "result", "created_at_ms", "id"])
    _partial("deliveries_by_replay", "replay_id IS NOT NULL", ["tenant", "mode", "replay_id", "created_at_ms", "id"])
    op.create_index("deliveries_by_state", "deliveries", ["tenant", "mode", "state", "created_at_ms", "id"])
    op.create_index("deliveries_by_time", "deliveries", ["tenant", "mode", "created_at_ms", "id"])
    op.create_index("deliveries_by_type", "deliveries", ["tenant", "mode", "event_type", "created_at_ms", "id"])
    _partial(
        "deliveries_dead", "state = 'dead'", ["tenant", "mode", "updated_at_ms", "endpoint_id", "reason", "result"]
    )


def _hours() -> None:
    op.create_table(
        "hours",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("mode", TEXT, primary_key=True),
        sa.Column("endpoint_id", TEXT, primary_key=True),
        sa.Column("begins_ms", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("part", sa.Integer(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
    )
    op.create_index("hours_by_age", "hours", ["begins_ms"])


def _notices() -> None:
    op.create_table(
        "notices",
        sa.Column("tenant", TEXT, primary_key=True),
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("mode", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("endpoint_id", TEXT),
        sa.Column("summary", TEXT, nullable=False),
        sa.Column("data", TEXT, nullable=False),
    )
    op.create_index("notices_by_age", "notices", ["at_ms"])
    op.create_index("notices_by_endpoint", "notices", ["tenant", "mode", "endpoint_id", "at_ms", "id"])
    op.create_index("notices_by_time", "notices", ["tenant", "mode", "at_ms", "id"])


def _partial(name: str, where: str, columns: list[str]) -> None:
    condition = sa.text(where)
    op.create_index(name, "deliveries", columns, sqlite_where=condition, postgresql_where=condition)
