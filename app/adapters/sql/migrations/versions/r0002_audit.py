"""The audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create the table of the audit log; `projection` fills it from the topic `audit`."""
    op.create_table(
        "audit",
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("mode", TEXT, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("entity", TEXT, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("detail", TEXT, nullable=False),
        sa.Column("before", TEXT),
        sa.Column("after", TEXT),
    )
    op.create_index("audit_by_age", "audit", ["at_ms"])
    op.create_index("audit_by_tenant", "audit", ["tenant", "mode", "offset"])
