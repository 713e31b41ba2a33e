"""The HTTP status in the index of dead deliveries, which are grouped by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_since_0006"
down_revision = "0007_since_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replace the index by one with the status."""
    condition = sa.text("state = 'dead'")
    op.drop_index("deliveries_dead", "deliveries")
    columns = ["tenant", "mode", "updated_at_ms", "endpoint_id", "reason", "result", "status"]
    op.create_index("deliveries_dead", "deliveries", columns, sqlite_where=condition, postgresql_where=condition)
