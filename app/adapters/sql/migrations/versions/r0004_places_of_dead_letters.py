"""Where a delivery lies in deliveries.dead, so that its bytes are read there without a search."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; rows that are there already have none, and are searched for."""
    op.add_column("deliveries", sa.Column("dead_offset", sa.BigInteger()))
