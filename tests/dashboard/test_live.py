"""Live pages: one sampler for all who look, frames for all, nobody waits for the slow, and nothing runs unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.core.errors import Unavailable
from app.dashboard.live import (
    BEAT_S,
    MAX_OF_KEY,
    MAX_OF_SESSION,
    MAX_OF_TENANT,
    MAX_STREAMS,
    LiveHub,
    Subscription,
    TooManyStreams,
    Viewer,
)
from tests.fakes.clock import FakeClock, settle


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

    def __init__(self, frames: Subscription) -> None:
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


def viewer(session: str = "s", payer: str = "", tenant: str = "", allowed: Callable[[], bool] = lambda: True) -> Viewer:
    return Viewer(session=session, payer=payer or f"key of {session}", tenant=tenant, allowed=allowed)


def look(hub: LiveHub, numbers: Numbers, session: str = "s", last_id: str = "", **more: Any) -> Reader:
    return Reader(hub.subscribe(("n",), numbers, every_s=1, viewer=viewer(session, **more), last_id=last_id))


async def test_two_hundred_pages_share_one_sample() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = LiveHub(clock, "e")
    readers = [look(hub, numbers, f"s{each % 20}") for each in range(200)]
    await clock.advance(3)
    assert numbers.looks == 4 and hub.streams() == 200
    assert all(len(each.got) == 5 for each in readers), "the delay before a new try, and four frames"
    for each in readers:
        await each.leave()
    await clock.advance(5)
    assert numbers.looks == 4 and hub.streams() == 0, "nobody looks: nothing runs"


async def test_a_reconnecting_page_gets_the_missed_frames_only() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = LiveHub(clock, "e")
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


async def test_a_slow_reader_is_disconnected_without_affecting_others() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = LiveHub(clock, "e")
    slow = hub.subscribe(("n",), numbers, every_s=1, viewer=viewer("slow"))
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
    hub = LiveHub(clock, "e")
    allowed = True
    reader = look(hub, numbers, allowed=lambda: allowed)
    await clock.advance(BEAT_S + 1)
    assert reader.got[1:] == [b": beat\n\n"]
    allowed = False
    await clock.advance(2)
    assert reader.task.done() and hub.streams() == 0


async def test_a_failed_sample_is_retried() -> None:
    clock, numbers = FakeClock(), Numbers()
    hub = LiveHub(clock, "e")
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
    hub, numbers = LiveHub(FakeClock(), "e"), Numbers()
    readers = [look(hub, numbers) for _ in range(MAX_OF_SESSION)]
    await settle()
    with pytest.raises(TooManyStreams):
        look(hub, numbers)
    other = look(hub, numbers, "another")
    await settle()
    assert len(other.got) == 1
    await readers[0].leave()
    readers[0] = look(hub, numbers)
    for each in [*readers, other]:
        await each.leave()


async def test_a_key_and_a_tenant_have_a_bounded_number_of_streams_whatever_their_sessions() -> None:
    hub, numbers = LiveHub(FakeClock(), "e"), Numbers()
    readers = [look(hub, numbers, f"link {each}", payer="key", tenant="acme") for each in range(MAX_OF_KEY)]
    with pytest.raises(TooManyStreams):
        look(hub, numbers, "one more link", payer="key", tenant="acme")
    readers += [look(hub, numbers, f"s{each}", tenant="acme") for each in range(MAX_OF_TENANT - MAX_OF_KEY)]
    with pytest.raises(TooManyStreams):
        look(hub, numbers, "another key", tenant="acme")
    readers.append(look(hub, numbers, "other", tenant="other"))
    await settle()
    for each in readers:
        await each.leave()
    assert hub.streams() == 0


async def test_at_the_limit_the_tenant_with_the_most_streams_loses_one() -> None:
    hub, numbers = LiveHub(FakeClock(), "e"), Numbers()
    tenants = [f"t{each % (MAX_STREAMS // MAX_OF_TENANT)}" for each in range(MAX_STREAMS)]
    readers = [look(hub, numbers, f"s{each}", tenant=tenant) for each, tenant in enumerate(tenants)]
    await settle()
    assert hub.streams() == MAX_STREAMS
    readers.append(look(hub, numbers, "new", tenant="small"))
    await settle()
    assert hub.streams() == MAX_STREAMS and sum(each.task.done() for each in readers) == 1
    assert not readers[-1].task.done()
    for each in readers:
        await each.leave()
    assert hub.streams() == 0


async def test_an_unread_stream_is_counted_and_released() -> None:
    hub, numbers = LiveHub(FakeClock(), "e"), Numbers()
    frames = hub.subscribe(("n",), numbers, every_s=1, viewer=viewer())
    assert hub.streams() == 1
    await frames.aclose()
    await frames.aclose()
    assert hub.streams() == 0 and numbers.looks == 0
