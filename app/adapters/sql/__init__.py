"""The read model in SQL: SQLite in the data folder, or PostgreSQL."""
