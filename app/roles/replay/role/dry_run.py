"""Count what a replay would deliver, and deliver nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from app.core.model.replay import Replay, ReplayEstimate
from app.roles.replay import eligibility
from app.roles.replay.role.selector import EventSelector, ReplaySources
from app.roles.replay.selection import EventChunk

#: trial runs at once: each holds a piece in memory
_AT_ONCE = 2


class DryRun:
    """`app.ports.history.ReplayEstimator`: the same choice as the work itself."""

    def __init__(self, archive: ReplaySources) -> None:
        self._archive = archive
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def count(self, replay: Replay, *, within_s: float) -> ReplayEstimate:
        """See `app.ports.history.ReplayEstimator`."""
        trial = _Trial(replay, self._archive)
        async with self._turn:
            work = asyncio.create_task(trial.run())
            late = asyncio.create_task(self._archive.clock.sleep(within_s))
            try:
                await asyncio.wait([work, late], return_when=asyncio.FIRST_COMPLETED)
                trial.counts.complete = work.done()
            finally:
                work.cancel()
                late.cancel()
                await asyncio.gather(work, late, return_exceptions=True)
        if trial.counts.complete:
            work.result()
        return trial.counts


class _Trial:
    def __init__(self, replay: Replay, archive: ReplaySources) -> None:
        self._replay = replay
        self._archive = archive
        self._selecting = EventSelector(replay, archive, _go_on)
        self._found: Counter[str] = Counter()
        self.counts = ReplayEstimate()

    async def run(self) -> None:
        ends, begins = await self._selecting.present(self._replay.end), dict(self._replay.begin)
        await self._selecting.until_fanned_out(begins, ends)
        while begins := {number: begin for number, begin in begins.items() if begin < ends[number]}:
            piece, until = await self._selecting.survey(begins, ends)
            if piece.size:
                await self._count(piece, begins, until)
            self.counts.read |= until
            self.counts.endpoints = dict(sorted(self._found.items()))
            begins = until

    async def _count(self, piece: EventChunk, begins: Mapping[int, int], until: Mapping[int, int]) -> None:
        stretch = await self._selecting.stretch(begins, until)
        try:
            while (record := await stretch.next()) is not None:
                event = self._selecting.event_of(record)
                if event is not None and piece.decided(event, record)[0]:
                    for endpoint_id in piece.chosen(event, record):
                        self._one(endpoint_id)
        finally:
            await stretch.close()

    def _one(self, endpoint_id: str) -> None:
        if eligibility.fate(self._archive.directory.endpoint(endpoint_id)) == "skip":
            self.counts.skipped += 1
        else:
            self._found[endpoint_id] += 1


def _go_on() -> None:
    """Nothing ends a trial but its time."""
