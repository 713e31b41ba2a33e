"""Live pages: one sampler for all who look, frames for all, nobody waits for the slow, and nothing runs unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from app.core.errors import Unavailable
from app.roles.api.ui.live import BEAT_S, MAX_OF_SESSION, Hub, TooMany
from tests.fakes.clock import FakeClock, settle

FOREVER = 2**62


class Numbers:
    """A subject that has something new at each look."""

    def __init__(self) -> None:
        self.looks = 0
        self.silent = False
        self.broken = False

    async def __call__(self) -> Sequence[tuple[str, str]]:
        self.looks += 1
        if self.broken:
            raise Unavailable("not now")
        return [] if self.silent else [("number", f"{self.looks}")]


class Reader:
    """A browser's connection."""

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        self.frames = frames
        self.got: list[bytes] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self.frames:
            self.got.append(frame)

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.frames.aclose()


def look(hub: Hub, numbers: Numbers, session: str = "s", last_id: str = "", until_ms: int = FOREVER) -> Reader:
    return Reader(
        hub.subscribe(("n",), numbers, every_s=1, session=session, until_ms=until_ms, last_id=last_id)
    )  # fmt: skip


async def test_two_hundred_pages_cost_one_look() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = Hub(clock, "e")
    readers = [look(hub, numbers, f"s{each % 20}") for each in range(200)]
    await clock.advance(3)
    assert numbers.looks == 4 and hub.streams() == 200
    assert all(len(each.got) == 5 for each in readers), "the delay before a new try, and four frames"
    for each in readers:
        await each.leave()
    await clock.advance(5)
    assert numbers.looks == 4 and hub.streams() == 0, "nobody looks: nothing runs"


async def test_a_page_that_comes_back_gets_what_it_has_missed_and_no_more() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = Hub(clock, "e")
    stays = look(hub, numbers)
    await clock.advance(5)
    back = look(hub, numbers, last_id="e.4")
    await settle()
    assert [frame.split(b"\n")[0] for frame in back.got[1:]] == [b"id: e.5", b"id: e.6"]
    for unknown in ("e.99", "other.3", "rubbish", "e.²"):
        lost = look(hub, numbers, last_id=unknown)
        await settle()
        assert b"event: resync" in lost.got[1], unknown
        await lost.leave()
    await clock.advance(80)
    late = look(hub, numbers, last_id="e.4")
    await settle()
    assert b"event: resync" in late.got[1], "more was sent meanwhile than is kept"
    for each in (stays, back, late):
        await each.leave()


async def test_who_does_not_read_is_let_go_and_the_others_notice_nothing() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = Hub(clock, "e")
    slow = hub.subscribe(("n",), numbers, every_s=1, session="slow", until_ms=FOREVER)
    await anext(slow)
    waiting = asyncio.ensure_future(anext(slow))
    good = look(hub, numbers)
    await settle()
    await waiting
    await clock.advance(60)
    assert sum(b"number" in frame for frame in good.got) == numbers.looks
    frames = [frame async for frame in slow]
    assert len(frames) <= 32, "the stream has ended after what was in its queue"
    await good.leave()


async def test_silence_is_broken_by_beats_and_a_session_ends_its_streams() -> None:
    clock, numbers = FakeClock(), Numbers()
    numbers.silent = True
    hub = Hub(clock, "e")
    reader = look(hub, numbers, until_ms=clock.now_ms() + 20_000)
    await clock.advance(BEAT_S + 1)
    assert reader.got[1:] == [b": beat\n\n"]
    await clock.advance(BEAT_S + 1)
    assert reader.task.done() and hub.streams() == 0


async def test_a_subject_that_cannot_be_asked_is_asked_again() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = Hub(clock, "e")
    numbers.broken = True
    reader = look(hub, numbers)
    await clock.advance(2)
    numbers.broken = False
    await clock.advance(1)
    assert len(reader.got) == 2
    await hub.close()
    await settle()
    assert reader.task.done()


async def test_one_session_has_a_bounded_number_of_streams() -> None:
    hub, numbers = Hub(FakeClock(), "e"), Numbers()
    readers = [look(hub, numbers) for _ in range(MAX_OF_SESSION)]
    await settle()
    with pytest.raises(TooMany):
        look(hub, numbers)
    other = look(hub, numbers, "another")
    await settle()
    assert len(other.got) == 1
    await readers[0].leave()
    readers[0] = look(hub, numbers)
    for each in [*readers, other]:
        await each.leave()
