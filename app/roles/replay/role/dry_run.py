"""Dry runs: count what a replay would deliver, without delivering it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from app.core.model.replay import Replay, ReplayEstimate
from app.roles.replay import eligibility
from app.roles.replay.role.selector import EventSelector, ReplaySources
from app.roles.replay.selection import EventChunk

#: dry runs at the same time: each has a chunk in memory
_AT_ONCE = 2


class DryRun:
    """`app.ports.history.ReplayEstimator`, with the same selection as the replay itself."""

    def __init__(self, sources: ReplaySources) -> None:
        self._sources = sources
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def count(self, replay: Replay, *, within_s: float) -> ReplayEstimate:
        """See `app.ports.history.ReplayEstimator`."""
        estimate = _Estimate(replay, self._sources)
        async with self._slots:
            work = asyncio.create_task(estimate.run())
            late = asyncio.create_task(self._sources.clock.sleep(within_s))
            try:
                await asyncio.wait([work, late], return_when=asyncio.FIRST_COMPLETED)
                estimate.counts.complete = work.done()
            finally:
                work.cancel()
                late.cancel()
                await asyncio.gather(work, late, return_exceptions=True)
        if estimate.counts.complete:
            work.result()
        return estimate.counts


class _Estimate:
    def __init__(self, replay: Replay, sources: ReplaySources) -> None:
        self._replay = replay
        self._sources = sources
        self._selector = EventSelector(replay, sources, _never_stop, counts_filtered=True)
        self._counts: Counter[str] = Counter()
        self.counts = ReplayEstimate()

    async def run(self) -> None:
        ends, begins = await self._selector.present(self._replay.end), dict(self._replay.begin)
        await self._selector.until_fanned_out(begins, ends)
        while begins := {number: begin for number, begin in begins.items() if begin < ends[number]}:
            chunk, until = await self._selector.survey(begins, ends)
            if chunk.size:
                await self._count(chunk, begins, until)
            self.counts.read |= until
            self.counts.endpoints = dict(sorted(self._counts.items()))
            begins = until

    async def _count(self, chunk: EventChunk, begins: Mapping[int, int], until: Mapping[int, int]) -> None:
        merged = await self._selector.open_range(begins, until)
        try:
            while (record := await merged.next()) is not None:
                event = self._selector.event_of(record)
                if event is not None and chunk.decided(event, record)[0]:
                    self.counts.filtered += chunk.filtered(record)
                    for endpoint_id in chunk.selected(event, record):
                        self._one(endpoint_id)
        finally:
            await merged.close()

    def _one(self, endpoint_id: str) -> None:
        if eligibility.route_of(self._sources.directory.endpoint(endpoint_id)) == "skip":
            self.counts.skipped += 1
        else:
            self._counts[endpoint_id] += 1


def _never_stop() -> None:
    """A dry run is ended only by its time limit."""
