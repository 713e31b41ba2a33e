"""The index of events, those included that no endpoint received."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_PAGE = ["at_ms", "partition", "offset"]


def upgrade() -> None:
    """Create the table; `projection` fills it from everything that Kafka still has of the three topics of events."""
    op.create_table(
        "events",
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("mode", TEXT, nullable=False),
        sa.Column("event_id", TEXT, nullable=False),
        sa.Column("event_type", TEXT, nullable=False),
        sa.Column("ordering_key", TEXT),
        sa.Column("outcome", TEXT),
        sa.Column("reason", TEXT),
        sa.Column("detail", TEXT),
        sa.Column("first_partition", sa.Integer()),
        sa.Column("first_offset", sa.BigInteger()),
        sa.Column("first_ms", sa.BigInteger()),
    )
    op.create_index("events_by_age", "events", _PAGE)
    op.create_index("events_by_id", "events", ["event_id", *_PAGE])
    op.create_index("events_by_time", "events", ["tenant", "mode", *_PAGE])
    op.create_index("events_by_type", "events", ["tenant", "mode", "event_type", *_PAGE])
    _dropped("events_dropped", ["tenant", "mode", "outcome", *_PAGE])
    _dropped("events_dropped_of_all", ["outcome", *_PAGE])


def _dropped(name: str, columns: list[str]) -> None:
    condition = sa.text("outcome IS NOT NULL")
    op.create_index(name, "events", columns, sqlite_where=condition, postgresql_where=condition)
