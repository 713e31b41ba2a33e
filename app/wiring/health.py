"""Build the health role on Faust."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.adapters.faust.stream import FaustStream
from app.adapters.kafka.offsets import KafkaEnds
from app.adapters.kafka.producer import KafkaLog
from app.core.table_recovery import TRUSTED_S, Recovery, later_state
from app.core.topics.declarations import Topics
from app.core.topics.names import Names
from app.ports.history import Ends
from app.ports.metrics import Meter
from app.ports.registry import DirectoryFeed
from app.roles.health.role import HealthRole
from app.settings import Settings


def health_role(
    settings: Settings, bootstrap: str, topics: Topics, group: Callable[[str], str], log: KafkaLog,
    feed: DirectoryFeed, meter: Meter,
) -> HealthRole:  # fmt: skip
    """A fresh role; each run of it has a Faust app of its own."""
    source = topics.name(Names.ENDPOINTS_SIGNALS)

    def stream() -> FaustStream:
        return FaustStream(
            group=group("health"), bootstrap=bootstrap, source_topic=source, partitions=log.partitions(source),
            data_dir=str(settings.data_dir / "health"), store=settings.table_store, client_id="hookstream-health",
            agent="health", tables={"state": None}, session_s=settings.session_timeout, instance=settings.instance_id,
            recovery={"state": Recovery(later_state, TRUSTED_S)},
        )  # fmt: skip

    @asynccontextmanager
    async def ends() -> AsyncIterator[Ends]:
        asked = KafkaEnds(
            bootstrap, client_id="hookstream-health", events=topics.name(Names.EVENTS_RAW),
            fanout_group=group("fanout"),
        )  # fmt: skip
        try:
            await asked.start()
            yield asked
        finally:
            await asked.stop()

    return HealthRole(app=stream, log_=log, feed=feed, ends=ends, meter=meter, topics=topics)
