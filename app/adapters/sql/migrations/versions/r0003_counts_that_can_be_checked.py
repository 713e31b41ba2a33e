"""Store the time of each counted row, so that `hookstream readmodel check` can count again.

Existing rows have no such time, so only later hours can be checked.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the column `at_ms` and the tables `unsent_ends` and `counting`."""
    op.add_column("attempts", sa.Column("at_ms", sa.BigInteger()))
    op.create_table(
        "unsent_ends",
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("delivery_id", TEXT, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("mode", TEXT, nullable=False),
        sa.Column("endpoint_id", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("unsent_ends_by_age", "unsent_ends", ["at_ms"])
    op.create_index("unsent_ends_by_delivery", "unsent_ends", ["delivery_id"])
    op.create_table("counting", sa.Column("exact_from_ms", sa.BigInteger(), primary_key=True, autoincrement=False))
    op.execute("INSERT INTO counting SELECT max(begins_ms) + 3600000 FROM hours HAVING max(begins_ms) IS NOT NULL")
