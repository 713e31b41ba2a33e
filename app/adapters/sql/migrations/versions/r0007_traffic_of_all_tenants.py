"""An index for the operator's overview, which sums the hours of all tenants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_since_0006"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index over the rows that are a tenant's sums."""
    condition = sa.text("endpoint_id = ''")
    columns = ["begins_ms", "tenant", "mode"]
    op.create_index("hours_of_tenants", "hours", columns, sqlite_where=condition, postgresql_where=condition)
