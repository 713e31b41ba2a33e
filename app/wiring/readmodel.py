"""Build the read model: the role that writes it, and what asks it."""

from __future__ import annotations

from app.adapters.kafka_source import KafkaSource
from app.adapters.sql.database import Database
from app.adapters.sql.reading import SqlReadStore
from app.adapters.sql.writing import SqlProjectionStore
from app.core.projecting import TOPICS
from app.core.topics import Topics
from app.ports import Clock, Meter
from app.roles.projection import ProjectionRole
from app.settings import Settings


def database_of(settings: Settings) -> Database:
    """The database that the settings name; nobody has connected to it yet."""
    url = settings.database_url.reveal() if settings.database_url else None
    return Database(url, settings.data_dir)


def read_store(settings: Settings) -> SqlReadStore:
    """What asks the read model; `close` it."""
    return SqlReadStore(database_of(settings))


def projection_role(
    settings: Settings, bootstrap: str, topics: Topics, group: str, clock: Clock, meter: Meter
) -> ProjectionRole:
    """A fresh role."""
    source = KafkaSource(
        bootstrap, group=group, client_id="hookstream-projection", topics=[topics.name(name) for name in TOPICS],
        session_s=settings.session_timeout, hold=True, together=True,
    )  # fmt: skip
    return ProjectionRole(
        source=source, store=SqlProjectionStore(database_of(settings)), topics=topics, clock=clock, meter=meter,
        retention_days=settings.retention_days,
    )  # fmt: skip
