"""Rebuild the read model from the topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.adapters.clock import SystemClock
from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.directory import Directory
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.runtime.build.projection import database_of, extents, projection_role, read_store
from app.runtime.group_names import group_of
from app.settings import Settings

#: seconds between two looks at the progress
_LOOK_S = 0.3


class ReadModelRebuild:
    """Empties the read model and reads all topics again, in this process and in every other one with the projection."""

    def __init__(self, settings: Settings, clients: KafkaClients, topics: Topics) -> None:
        self._settings = settings
        self._clients = clients
        self._topics = topics

    async def run(self, on_progress: Callable[[int, int], None]) -> int:
        """Read all records that exist at the beginning; returns their number. Raises `Unavailable`.

        `on_progress` gets the number of records that have been read, and of all.
        """
        store = SqlProjectionStore(database_of(self._settings))
        await store.prepare()
        await store.clear()
        await store.close()
        group = group_of(self._settings, "projection")
        feed = KafkaDirectoryFeed(
            self._clients,
            self._topics.name(TopicName.REGISTRY),
            client_id="hookstream-rebuild",
            directory=Directory(matches=False),
        )
        await feed.start()  # without the rules of tenants, rows that are past their days would come back
        role = projection_role(
            self._settings, self._clients, self._topics, group, feed, SystemClock(), PrometheusMeter()
        )
        running = asyncio.create_task(role.run())
        reads = read_store(self._settings)
        try:
            goal = {each[:2]: each for each in await extents(self._clients, self._topics, reads)}
            total = sum(each.end - each.begin for each in goal.values())
            left = total
            while left:
                await asyncio.wait([running], timeout=_LOOK_S)
                if running.done():
                    running.result()
                offsets = await reads.read_to()
                left = sum(max(0, each.end - max(each.begin, offsets.get(place, 0))) for place, each in goal.items())
                on_progress(total - left, total)
            return total
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await reads.close()
            await feed.stop()
