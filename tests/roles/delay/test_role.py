"""The delay role on fakes: each record at its own due time, nothing twice, nothing beyond the memory allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import HookstreamError, RecordTooLarge
from app.core.topics.names import RUNGS, TopicName
from app.roles.delay import role
from app.roles.delay.role import DelayRole
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock, settle
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.source import MemoryGroup

TOPICS = topics_of(Settings(topic_prefix="", partitions=2, replication_factor=1))


def rung(name: str) -> str:
    return f"{TopicName.DELIVERIES_DELAY}.{name}"


PLACES = [(rung(name), number) for name, _ in RUNGS for number in range(2)]


class Stage:
    """A delay worker with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock, partitions=2)
        self.group = MemoryGroup(self.log, [rung(name) for name, _ in RUNGS], self.clock)
        self.source = self.group.member()
        self.meter = PrometheusMeter()
        self.role = DelayRole(source=self.source, producer=self.log, topics=TOPICS, clock=self.clock, meter=self.meter)
        self.running = asyncio.create_task(self.role.run())
        self.started_ms = self.clock.now_ms()

    async def start(self) -> None:
        """Run, with all partitions."""
        await settle()
        await self.source.assign(*PLACES)

    async def stop(self) -> None:
        self.clock.auto = True
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        assert not self.source.running

    def put(self, name: str, due_s: float, *, partition: int = 0, value: bytes = b"v") -> MemoryRecord:
        """A record in a rung, due in so many seconds."""
        due = b"%d" % (self.clock.now_ms() + round(due_s * 1000))
        return self.log.put(
            rung(name), key=b"ep", value=value, headers=[("event-id", b"e"), ("due-at", due)], partition=partition
        )

    def released(self) -> list[MemoryRecord]:
        return self.log.of(TopicName.DELIVERIES)

    def released_at(self) -> list[float]:
        """Seconds since the start at which records came back."""
        return [(record.timestamp - self.started_ms) / 1000 for record in self.released()]

    async def offset(self, name: str, partition: int = 0) -> int:
        """What is committed once the next commit has taken place; nothing counts as 0."""
        await self.clock.advance(0.2)
        return self.group.offset((rung(name), partition)) or 0


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()


async def test_a_record_returns_unchanged_at_its_own_due_time(stage: Stage) -> None:
    assert stage.role.ready() is not None
    await stage.start()
    assert stage.role.ready() is None
    waiting = stage.put("5s", 7.3, partition=1)
    await stage.clock.advance(7.299)
    assert stage.released() == []
    await stage.clock.advance(0.001)
    (record,) = stage.released()
    assert (record.key, record.value, record.headers, record.partition) == (b"ep", b"v", waiting.headers, 1)
    assert await stage.offset("5s", 1) == 1


async def test_only_overdue_records_count_as_lag(stage: Stage) -> None:
    await stage.start()
    stage.put("8h", 8 * 3600)
    stage.put("8h", 9 * 3600)
    stage.put("5s", 7)
    stage.put("1s", 1.5)
    await settle()
    places = stage.role.report().places
    assert (rung("8h"), 0) not in places and (rung("5s"), 0) not in places, "they are waited for on purpose"
    assert places[rung("1s"), 0].low == 1, "it waits in memory, and reading goes on behind it"
    assert places[rung("1s"), 1].low == 0
    stage.log.hold(TopicName.DELIVERIES)
    await stage.clock.advance(7)
    late = stage.role.report().places
    assert late[rung("5s"), 0].low == late[rung("1s"), 0].low == 0, "released, and not acknowledged"
    stage.log.release(TopicName.DELIVERIES)
    await settle()
    done = stage.role.report().places
    assert done[rung("5s"), 0].low == done[rung("1s"), 0].low == 1


async def test_records_of_one_rung_come_back_in_the_order_of_their_due_times(stage: Stage) -> None:
    await stage.start()
    for seconds in (1.9, 1.2, 1.0, 1.5):
        stage.put("1s", seconds)
    stage.put("1s", 1.1, partition=1)
    await stage.clock.advance(3)
    assert stage.released_at() == [1.0, 1.1, 1.2, 1.5, 1.9]
    assert await stage.offset("1s") == 4


async def test_an_overdue_record_is_released_at_once(stage: Stage) -> None:
    await stage.start()
    stage.put("8h", -5)
    stage.log.put(rung("1s"), key=b"ep", value=b"v", headers=[("due-at", b"soon")], partition=0)
    await settle()
    assert stage.released_at() == [0, 0]


async def test_a_record_moves_down_the_ladder_until_its_due_time(stage: Stage) -> None:
    await stage.start()
    first = stage.put("1m", 105, partition=1)
    await stage.clock.advance(59.9)
    assert stage.log.of(rung("30s")) == []
    await stage.clock.advance(0.1)
    (second,) = stage.log.of(rung("30s"))
    assert (second.key, second.value, second.headers, second.partition) == (b"ep", b"v", first.headers, 1)
    assert await stage.offset("1m", 1) == 1
    await stage.clock.advance(50)
    assert stage.released_at() == [105]
    assert await stage.offset("30s", 1) == 1


async def test_a_records_rung_is_never_longer_than_its_wait(stage: Stage) -> None:
    await stage.start()
    stage.put("5s", 5 + 29)  # held
    stage.put("5s", 5 + 31)  # handed down
    await stage.clock.advance(5)
    assert [len(stage.log.of(rung(name))) for name in ("1s", "5s", "30s", "1m")] == [0, 2, 1, 0]
    await stage.clock.advance(40)
    assert stage.released_at() == [34, 36]


async def test_a_head_that_is_not_due_pauses_its_partition_alone(stage: Stage) -> None:
    await stage.start()
    stage.put("5m", 300)
    stage.put("5m", 300, partition=1)
    stage.put("1s", 1)
    await stage.clock.advance(2)
    assert stage.source.paused == {(rung("5m"), 0), (rung("5m"), 1)}
    assert stage.released_at() == [1]
    polled = stage.source.polled
    stage.put("5m", 300)
    await stage.clock.advance(10)
    assert stage.source.polled == polled, "what stands behind a head was read"


async def test_an_offset_is_committed_when_its_output_is_acknowledged(stage: Stage) -> None:
    stage.log.hold(TopicName.DELIVERIES, rung("30s"))
    await stage.start()
    stage.put("1s", 1)
    stage.put("1m", 105)
    await stage.clock.advance(62)
    assert len(stage.released()) == len(stage.log.of(rung("30s"))) == 1
    assert (await stage.offset("1s"), await stage.offset("1m")) == (0, 0)
    stage.log.release(TopicName.DELIVERIES)
    assert (await stage.offset("1s"), await stage.offset("1m")) == (1, 0)
    stage.log.release(rung("30s"))
    assert await stage.offset("1m") == 1


async def test_an_unwritable_record_ends_the_run_without_a_commit(stage: Stage) -> None:
    stage.log.fail(TopicName.DELIVERIES, RecordTooLarge("a retry"))
    await stage.start()
    stage.put("1s", 1)
    await stage.clock.advance(2)
    with pytest.raises(HookstreamError, match="a retry"):
        await stage.running
    assert not stage.group.offset((rung("1s"), 0))


async def test_records_held_for_a_revoked_partition_are_dropped_and_read_again(stage: Stage) -> None:
    await stage.start()
    stage.put("1s", 1.5)
    stage.put("5m", 310)
    stage.put("1s", 1.5, partition=1)
    await stage.clock.advance(1)
    await stage.source.revoke((rung("1s"), 0), (rung("5m"), 0))
    await stage.clock.advance(400)
    assert [record.partition for record in stage.released()] == [1], "somebody else's record was released"
    assert not stage.group.offset((rung("1s"), 0)) and not stage.group.offset((rung("5m"), 0))
    await stage.source.assign((rung("1s"), 0), (rung("5m"), 0))
    await settle()
    assert sorted(record.partition for record in stage.released()) == [0, 0, 1]
    assert (await stage.offset("1s"), await stage.offset("5m")) == (1, 1)


async def test_a_partition_that_was_paused_when_it_was_revoked_is_read_when_it_comes_back(stage: Stage) -> None:
    await stage.start()
    place = (rung("5m"), 0)
    stage.put("5m", 300)
    await stage.clock.advance(1)
    assert place in stage.source.paused
    await stage.source.revoke(place)
    await stage.source.assign(place)
    await stage.clock.advance(1)
    assert place in stage.source.paused, "read again, and it waits again"
    await stage.clock.advance(300)
    assert stage.released_at() == [300]


async def test_records_in_memory_have_no_more_bytes_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role, "_CAPACITY_BYTES", 2500)
    stage = Stage()
    try:
        await stage.start()
        for serial in range(6):
            stage.put("1s", 1 + serial, value=bytes(1000))
            await stage.clock.advance(0)
        assert (rung("1s"), 0) in stage.source.paused
        assert stage.source.polled == 4, "three held, one to be looked at, the rest unread"
        stage.put("5s", 5, partition=1)
        await stage.clock.advance(20)
        assert stage.released_at() == [1, 2, 3, 4, 5, 5, 6]
        assert await stage.offset("1s") == 6
    finally:
        await stage.stop()


async def test_revoking_a_partition_frees_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role, "_CAPACITY_BYTES", 1000)
    stage = Stage()
    try:
        await stage.start()
        stage.put("1s", 20, value=bytes(1000))
        await settle()
        await stage.source.revoke((rung("1s"), 0))
        stage.put("1s", 20, value=bytes(1000), partition=1)
        await settle()
        assert stage.source.paused == set(), "held, and the next one may be read"
    finally:
        await stage.stop()


async def test_nothing_is_polled_while_the_log_has_no_room(stage: Stage) -> None:
    await stage.start()
    stage.log.crowd(True)
    await stage.clock.advance(2)
    polled = stage.source.polled
    stage.put("1s", 1)
    await stage.clock.advance(5)
    assert (stage.source.polled, stage.released()) == (polled, [])
    stage.log.crowd(False)
    await settle()
    assert len(stage.released()) == 1


@pytest.mark.parametrize("due", [b"9" * 5000, b"1" + b"0" * 30, b"-1", b"abc", None])
async def test_poison_at_the_head_of_a_rung_holds_back_nothing(stage: Stage, due: Any) -> None:
    await stage.start()
    stage.log.put(rung("5s"), key=b"ep", value=b"x", headers=[("due-at", due)], partition=0)
    stage.log.put(rung("5s"), key=b"ep", value=bytes(TOPICS.max_record_bytes), headers=[("due-at", b"1")], partition=0)
    stage.put("5s", 6)
    await stage.clock.advance(7)
    assert [record.value for record in stage.released()] == [b"x", b"v"]
    assert await stage.offset("5s") == 3
    assert b'records_unreadable_total{topic="deliveries.delay"} 1.0' in stage.meter.exposition()
