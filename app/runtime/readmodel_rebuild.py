"""Build the read model anew from the topics, in a database of its own, while the old one is still read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.adapters.clock import SystemClock
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.topics.declarations import Topics
from app.runtime.build.projection import database_of, extents, projection_role, read_store
from app.settings import Settings

#: between two looks at how far it is
_LOOK_S = 0.3


class ReadModelRebuild:
    """Empty the read model and read everything again, in this process and in every other that projects."""

    def __init__(self, settings: Settings, bootstrap: str, topics: Topics) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._topics = topics

    async def run(self, told: Callable[[int, int], None]) -> int:
        """Until everything is read that there was at the beginning; `told` of how many records of how many. How many.

        Raises `Unavailable`.
        """
        store = SqlProjectionStore(database_of(self._settings))
        await store.prepare()
        await store.clear()
        await store.close()
        group = f"{self._settings.topic_prefix}hookstream.projection"
        role = projection_role(self._settings, self._bootstrap, self._topics, group, SystemClock(), PrometheusMeter())
        running = asyncio.create_task(role.run())
        reads = read_store(self._settings)
        try:
            goal = {each[:2]: each for each in await extents(self._bootstrap, self._topics, reads)}
            total = sum(each.end - each.begin for each in goal.values())
            left = total
            while left:
                await asyncio.wait([running], timeout=_LOOK_S)
                if running.done():
                    running.result()
                known = await reads.read_to()
                left = sum(max(0, each.end - max(each.begin, known.get(place, 0))) for place, each in goal.items())
                told(total - left, total)
            return total
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await reads.close()
