"""A stint of a resume: from its begin by one worker to its end, as the gate of an ordered endpoint knows it."""

from __future__ import annotations

from app.core.records import ordered
from app.core.records.headers import Header
from app.core.records.ordered import State
from app.core.topics.names import Names
from app.roles.replay.giving import Giving

#: between two looks at how far the sequencer has come
_LOOK_S = 0.1


class Stint:
    """What one turn of a resume says to the sequencer (core/gate.py), and whether that was heard."""

    def __init__(self, giving: Giving) -> None:
        self._giving = giving
        self._around = giving.around
        self._endpoint = giving.replay.endpoint_id
        self._number = giving.around.archive.partition_of(self._endpoint)
        self._ordered = giving.around.topics.name(Names.DELIVERIES_ORDERED)
        clock = giving.around.clock
        self._name = f"{giving.replay.id}/{clock.now_ms()}/{giving.around.feed.position}"

    async def say(self, to: State) -> int:
        """Move the gate; the offset of the record that does."""
        return await self._append(ordered.step(to, self._name))

    async def _append(self, headers: list[Header]) -> int:
        ack = await self._around.log.append(
            self._ordered, key=self._endpoint.encode(), value=None, headers=headers, partition=self._number
        )
        return await ack

    async def heard(self, offset: int) -> None:
        """Return when the sequencer has finished the record at `offset`, and all before it; raises `Leave`."""
        while (await self._around.reader.sequenced()).get(self._number, 0) <= offset:
            self._giving.look()
            await self._around.clock.sleep(_LOOK_S)

    async def give_up(self) -> None:
        """The work has ended before its end: open the gate, unless the resume goes on, or another one is to come."""
        if not self._around.feed.directory.brings(self._endpoint):
            await self._append(ordered.step("open"))
