"""Build the role that writes the read model, and the store that reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from app.adapters.clock import SystemClock
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.adapters.kafka.history import KafkaHistoryReader
from app.adapters.sql.checking import ReadModelCheck, check_counts
from app.adapters.sql.database import Database
from app.adapters.sql.migrate import is_usable, revision
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.adapters.sql.tenant_read_store import TenantReadStore
from app.core.errors import Unavailable
from app.core.readmodel.batch import TOPICS
from app.core.readmodel.tenant_rules import TenantRules
from app.core.topics.declarations import Topics
from app.ports.clock import Clock
from app.ports.dependencies import Dependency
from app.ports.metrics import Meter
from app.ports.registry import DirectoryFeed
from app.roles.projection.role import ProjectionRole
from app.settings import Settings

_DAY_MS = 86_400_000
#: milliseconds by which retention may advance during a comparison
_MARGIN_MS = 3_600_000


def database_of(settings: Settings, status: Dependency | None = None) -> Database:
    """The database of the settings, not connected yet."""
    url = settings.database_url.reveal() if settings.database_url else None
    return Database(url, settings.data_dir, status=status)


def _tenant_rules(feed: DirectoryFeed, clock: Clock) -> TenantRules:
    """The rules of tenants, as the feed has them."""
    return TenantRules(lambda: feed.directory.tenants, clock.now_ms)


def tenant_read_store(
    settings: Settings, feed: DirectoryFeed, clock: Clock, status: Dependency | None = None
) -> SqlReadStore:
    """A store that shows of each tenant's rows those that its rules allow. The caller closes it."""
    return TenantReadStore(database_of(settings, status), _tenant_rules(feed, clock))


def read_store(settings: Settings, status: Dependency | None = None) -> SqlReadStore:
    """A store that reads the read model. The caller closes it."""
    return SqlReadStore(database_of(settings, status))


def projection_role(
    settings: Settings,
    clients: KafkaClients,
    topics: Topics,
    group: str,
    feed: DirectoryFeed,
    clock: Clock,
    meter: Meter,
    status: Dependency | None = None,
) -> ProjectionRole:
    """A new projection role."""
    source = KafkaGroupConsumer(
        clients,
        group=group,
        client_id="hookstream-projection",
        topics=[topics.name(name) for name in TOPICS],
        session_s=settings.session_timeout,
        instance=settings.instance_id,
        hold=True,
        together=True,
    )
    return ProjectionRole(
        source=source,
        store=SqlProjectionStore(database_of(settings, status)),
        topics=topics,
        clock=clock,
        meter=meter,
        rules=_tenant_rules(feed, clock),
        retention_days=settings.retention_days,
        max_event_bytes=settings.max_event_bytes,
    )


class ReadModelLag(NamedTuple):
    """How far the read model has read a partition."""

    topic: str
    partition: int
    #: the first offset in Kafka, the next offset to read, and the offset of the next record
    begin: int
    next: int
    end: int

    @property
    def behind(self) -> int:
        """The number of records that have not been read yet."""
        return max(0, self.end - max(self.next, self.begin))


async def extents(clients: KafkaClients, topics: Topics, store: SqlReadStore) -> list[ReadModelLag]:
    """The lag of each partition. Raises `Unavailable`."""
    offsets = await store.read_to()
    reader = KafkaHistoryReader(clients, fanout_group="", events="", sequencer_group="", ordered="")
    lags = []
    try:
        for logical in TOPICS:
            numbers = range(next(spec.partitions for spec in topics.specs if spec.logical == logical))
            oldest = await reader.oldest(topics.name(logical), numbers)
            ends = await reader.ends(topics.name(logical), numbers)
            lags += [
                ReadModelLag(logical, number, oldest[number].offset, offsets.get((logical, number), 0), ends[number])
                for number in numbers
            ]
    finally:
        await reader.close()
    return lags


async def count_again(settings: Settings, *, repair: bool, on_progress: Callable[[int, int], None]) -> ReadModelCheck:
    """Compare the hourly counts with the stored rows; see `check_counts`. Raises `Unavailable`."""
    database = database_of(settings)
    retained_from_ms = SystemClock().now_ms() - round(settings.retention_days * _DAY_MS)
    try:
        there, ours = await revision(database)
        if not is_usable(there, ours):
            raise Unavailable(
                f"The read model has the schema {there}, this program {ours}: run `hookstream readmodel upgrade`."
            )
        return await check_counts(
            database, not_before_ms=max(0, retained_from_ms) + _MARGIN_MS, repair=repair, on_progress=on_progress
        )
    finally:
        await database.close()
