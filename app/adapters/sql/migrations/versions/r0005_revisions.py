"""The number of a delivery's last manual action is called its revision, as in the records."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the column `turn` of `deliveries`."""
    op.execute("ALTER TABLE deliveries RENAME COLUMN turn TO revision")
