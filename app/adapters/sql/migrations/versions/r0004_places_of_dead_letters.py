"""The offset of a delivery in deliveries.dead, by which its bytes are read without a search."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column `dead_offset`; existing rows have none, and their records are searched for."""
    op.add_column("deliveries", sa.Column("dead_offset", sa.BigInteger()))
