"""Run the migrations on the connection in the configuration; Alembic imports this file."""

from __future__ import annotations

from alembic import context

from app.adapters.sql.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
