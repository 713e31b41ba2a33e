"""The sequencer on fakes: what may leave leaves, what waits is remembered, and a crash repeats without disorder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay, ReplayState
from app.core.records import delivery as delivery_record
from app.core.records.ordered import RESUMED, GateState, SettledAs, comes_back, instruction, settlement, step
from app.roles.sequencer.resume_gate import ResumeGate, prefix
from app.roles.sequencer.role import worker as sequencer_role
from app.roles.sequencer.role.worker import SequencerRole
from tests.fakes.clock import FakeClock, settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.stream import MemoryPartition, MemoryStreamApp


def endpoint(**fields: Any) -> Endpoint:
    return Endpoint(
        id="ep",
        tenant="default",
        mode="live",
        url="https://x.example/",
        events=("*",),
        profile="standard",
        ordering="fifo",
        **fields,
    )


class Stage:
    """A sequencer with everything around it in memory; records of deliveries.ordered are given by hand."""

    def __init__(self, **fields: Any) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock)
        self.feed = MemoryFeed(endpoint(**fields))
        self.partition = MemoryPartition(2)
        self.records: list[MemoryRecord] = []
        self.start()

    def start(self) -> None:
        self.app = MemoryStreamApp()
        role = SequencerRole(
            app=lambda: self.app,
            log_=self.log,
            feed=self.feed,
            meter=PrometheusMeter(),
            deliveries="deliveries",
            ordered="deliveries.ordered",
            dead="deliveries.dead",
            max_record_bytes=1_000_000,
            clock=self.clock,
        )
        self.running = asyncio.create_task(role.run())

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def _record(self, headers: list[tuple[str, bytes]], value: bytes | None, at_ms: int) -> MemoryRecord:
        made = MemoryRecord("deliveries.ordered", 2, len(self.records), at_ms, b"ep", value, headers)
        self.records.append(made)
        return made

    def arrival(self, name: str, key: str = "k", at_ms: int = 0, *, resumed: bool = False) -> MemoryRecord:
        delivery = Delivery(
            id=name,
            endpoint_id="ep",
            event_id=name,
            event_type="a.b",
            tenant="acme",
            mode="live",
            created_at="2026-01-01T00:00:00Z",
            body=b"",
            ordering_key=key,
        )
        headers = delivery_record.encode(delivery)
        return self._record([*headers, RESUMED] if resumed else headers, name.encode(), at_ms)

    def back(self, name: str, offset: int, *, attempts: int = 0, key: str = "k") -> MemoryRecord:
        """Dispatch has found the endpoint paused."""
        delivery = Delivery(
            id=name,
            endpoint_id="ep",
            event_id=name,
            event_type="a.b",
            tenant="acme",
            mode="live",
            created_at="x",
            body=b"",
            ordering_key=key,
            attempts=attempts,
            arrival=offset,
        )
        return self._record([*delivery_record.encode(delivery), *comes_back(offset)], name.encode(), 0)

    def step(self, to: GateState, resume_run: str = "") -> MemoryRecord:
        return self._record(step(to, resume_run), None, 0)

    def resume(self, state: ReplayState) -> None:
        """The registry's record of it; the endpoint is active."""
        self.feed.directory.put_endpoint(endpoint())
        self.feed.directory.put_replay(
            Replay(id="rpl", tenant="t", mode="live", endpoint_id="ep", reason="resume", begin={}, end={}, state=state)
        )

    def settled(self, offset: int, outcome: SettledAs = "delivered", key: str = "k", at_ms: int = 0) -> MemoryRecord:
        return self._record(settlement(offset, outcome, key), None, at_ms)

    async def give(self, *records: MemoryRecord) -> None:
        await self.app.acked(self.app.give(self.partition, *records))

    def released(self) -> list[tuple[str | None, str | None]]:
        """(delivery, arrival)"""
        return [(each.header("delivery-id"), each.header("arrival")) for each in self.log.of("deliveries")]

    def dead(self) -> list[tuple[str | None, str | None]]:
        return [(each.header("delivery-id"), each.header("reason")) for each in self.log.of("deliveries.dead")]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()


async def test_one_of_a_key_leaves_at_a_time_and_keys_do_not_wait_for_each_other(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.arrival("x", "other"), stage.arrival("c"))
    assert stage.released() == [("a", "0"), ("x", "2")]
    assert all(each.partition == 2 and each.value for each in stage.log.of("deliveries"))
    await stage.give(stage.settled(0))
    await stage.give(stage.settled(1), stage.settled(2, key="other"))
    assert stage.released()[2:] == [("b", "1"), ("c", "3")]
    await stage.give(stage.settled(3))
    assert stage.partition.tables["waiting"] == {}


async def test_a_new_worker_goes_on_from_the_tables(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    await stage.stop()
    stage.start()
    await stage.give(stage.settled(0))
    assert stage.released() == [("a", "0"), ("b", "1")]


async def test_what_is_read_again_releases_again_what_is_under_way_and_nothing_else(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.arrival("c"))
    await stage.give(stage.settled(0))
    before = stage.released()
    await stage.stop()
    stage.start()
    await stage.give(*stage.records)
    assert stage.released()[len(before) :] == [("b", "1")], "once, however many records are read again"
    await stage.give(stage.settled(1))
    assert stage.released()[-1] == ("c", "2")


async def test_a_dead_one_blocks_until_it_is_skipped(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    assert stage.released() == [("a", "0")]
    await stage.give(stage._record(instruction("skip", "k"), None, 0))
    assert stage.released() == [("a", "0"), ("b", "1")]


async def test_a_blocked_line_goes_on_when_the_endpoint_wants_it_otherwise(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    stage.feed.directory.put_endpoint(endpoint(on_exhausted="skip"))
    await stage.give(stage.arrival("c"))
    assert stage.released() == [("a", "0"), ("b", "1")]


async def test_what_is_given_up_is_dead_before_the_tables_forget_it(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    stage.log.hold("deliveries.dead")
    stage.app.give(stage.partition, stage._record(instruction("drop", "k"), None, 0))
    await stage.log.seen("deliveries.dead", 1)
    assert len(stage.partition.tables["waiting"]) == 2
    stage.log.release("deliveries.dead")
    await stage.give(stage.arrival("c"))
    assert stage.released()[-1] == ("c", "4")


@pytest.mark.parametrize("fields", [{"on_exhausted": "skip"}, {"status": "disabled"}])
async def test_a_dead_one_is_passed_over_where_nothing_may_block(fields: dict[str, Any]) -> None:
    stage = Stage(**fields)
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    assert stage.released() == [("a", "0"), ("b", "1")]
    await stage.stop()


async def test_what_is_dropped_is_dead_with_its_reason(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    await stage.give(stage._record(instruction("drop", "k"), None, 0), stage.arrival("c"))
    assert stage.dead() == [("b", "ordering_dropped")]
    assert stage.released()[-1] == ("c", "4")


async def test_a_record_that_is_none_of_ours_is_passed_over(stage: Stage) -> None:
    key = ("ordering-key", b"k")
    poison: list[list[tuple[str, Any]]] = [
        [("instruction", b"explode"), key],
        [("settles", b"0"), ("outcome", b"eaten"), key],
        [("settles", b"9" * 5000), ("outcome", b"delivered"), key],
        [("ordering-key", b"k" * 600)],
        [("ordering-key", b"\xff")],
        [("ordering-key", None)],
        [key],  # dispatch could not read it: its line would wait for ever
        [],
    ]
    await stage.give(*(stage._record(headers, b"x", 0) for headers in poison))
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    assert stage.released() == [("a", str(len(poison)))]


async def test_an_arrival_that_is_too_large_or_has_an_empty_header_blocks_nothing(stage: Stage) -> None:
    large, hollow = stage.arrival("large"), stage.arrival("hollow")
    stage.records[0] = large._replace(value=bytes(1_000_000))
    hollow.headers.append(("foreign", None))  # type: ignore[arg-type]
    await stage.give(stage.records[0], hollow, stage.arrival("next"))
    assert stage.released() == [("hollow", "1")]
    await stage.give(stage.settled(1))
    assert stage.released()[1:] == [("next", "2")]


@pytest.mark.parametrize("table", ["queues", "waiting"])
async def test_a_table_that_holds_nonsense_counts_as_empty(stage: Stage, table: str) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    kept = stage.partition.tables[table]
    kept.update(dict.fromkeys(kept, b"\xc1 nonsense"))
    await stage.give(stage.arrival("c", "other"), stage.settled(0))
    assert ("c", "2") in stage.released()


async def test_a_gate_whose_name_is_no_text_stops_nothing(stage: Stage) -> None:
    stage.partition.tables["queues"] = {prefix(2) + b"\xff": msgspec.msgpack.encode(ResumeGate(5, "parking", "s"))}
    await stage.give(stage.arrival("a"))
    assert stage.released() == [("a", "0")]


async def test_lines_at_rest_leave_the_table_after_a_while(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.settled(0))
    await stage.give(stage.arrival("x", "other", at_ms=30_000))
    assert len(stage.partition.tables["queues"]) == 2
    await stage.give(stage.arrival("y", "other", at_ms=61_000))
    assert len(stage.partition.tables["queues"]) == 1


# --- pause and resume -----------------------------------------------------------------------------------------------


async def test_what_arrives_in_a_pause_is_put_aside_and_what_comes_back_waits_in_its_line_as_it_is(
    stage: Stage,
) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    stage.feed.directory.put_endpoint(endpoint(status="paused"))
    await stage.give(stage.back("a", 0, attempts=2), stage.arrival("c"), stage.arrival("x", "other"))
    assert stage.dead() == [("c", "paused"), ("x", "paused")] and stage.released() == [("a", "0")]
    stage.resume("running")
    await stage.give(stage.arrival("d"), stage.step("parking", "s"))
    assert stage.dead()[2:] == [("d", "paused")]
    assert stage.released()[1:] == [("a", "0")], "it goes on when the resume begins"
    again = stage.log.of("deliveries")[-1]
    assert (again.header("attempts"), again.header("settles"), again.header("resumed")) == ("2", None, None)


async def test_a_resume_goes_before_what_is_held_until_the_gate_is_opened(stage: Stage) -> None:
    stage.feed.directory.put_endpoint(endpoint(status="paused"))
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    stage.resume("running")
    await stage.give(stage.step("parking", "s"), stage.arrival("a", resumed=True), stage.step("holding", "s"))
    await stage.give(stage.arrival("c"), stage.arrival("x", "other"), stage.arrival("b", resumed=True))
    assert stage.released() == [("a", "3")], "nothing of another key leaves either: it may have to wait, too"
    await stage.give(stage.settled(3), stage.step("open", "s"))
    assert stage.released()[1:] == [("b", "7"), ("x", "6")]
    await stage.give(stage.settled(7), stage.settled(6, key="other"))
    assert stage.released()[3:] == [("c", "5")]
    assert all(each.header("resumed") is None for each in stage.log.of("deliveries"))


async def test_what_a_gate_has_let_go_is_let_go_again_when_its_record_is_read_again(stage: Stage) -> None:
    stage.resume("running")
    await stage.give(stage.step("parking", "s"), stage.step("holding", "s"), stage.arrival("a"), stage.arrival("b"))
    stage.log.hold("deliveries")
    stage.app.give(stage.partition, stage.step("open", "s"))
    await stage.app.pulse.until(lambda: b"ep\nk" in stage.partition.tables["queues"])
    await stage.stop()
    stage.log.release("deliveries")
    before = len(stage.released())
    stage.start()
    await stage.give(*stage.records)
    assert stage.released()[before:] == [("a", "2")]


async def test_one_that_comes_back_though_its_line_has_gone_on_is_not_lost(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.settled(0, "dead"), stage._record(instruction("skip", "k"), None, 0))
    stage.feed.directory.put_endpoint(endpoint(status="paused"))
    await stage.give(stage.back("a", 0, attempts=4))  # it was retried on request
    assert stage.dead() == [("a", "paused")]
    assert stage.log.of("deliveries.dead")[0].header("arrival") is None, "its resume brings it as a new arrival"


async def test_a_delivery_is_judged_by_a_directory_that_knows_what_its_fan_out_knew(stage: Stage) -> None:
    late = stage.arrival("a")
    late.headers.append(("registry-position", b"7"))
    stage.feed.fenced = True
    stage.app.give(stage.partition, late)
    await stage.feed.waited_for()
    assert stage.released() == []
    stage.feed.move(7)
    stage.feed.open_fence()
    await stage.log.seen("deliveries", 1)


@pytest.mark.parametrize("how", ["cancelled", "disabled", "removed"])
async def test_a_gate_that_nobody_opens_is_opened_by_the_sequencer_itself(stage: Stage, how: str) -> None:
    stage.resume("running")
    await stage.give(stage.step("parking", "s"), stage.step("holding", "s"), stage.arrival("a"))
    await stage.stop()
    stage.start()
    stage.app.partitions.append(stage.partition)  # and no record comes
    await stage.clock.advance(3)
    assert stage.log.of("deliveries.ordered") == []
    if how == "removed":
        stage.feed.directory.remove_endpoint("ep")
    elif how == "disabled":
        stage.feed.directory.put_endpoint(endpoint(status="disabled"))
    else:
        stage.resume("cancelled")
    await stage.clock.advance(1)
    assert stage.log.of("deliveries.ordered") == [], "what the resume has appended is read before"
    await stage.clock.advance(1)
    (asked,) = stage.log.of("deliveries.ordered")
    assert (asked.key, asked.partition) == (b"ep", 2)
    await stage.give(stage._record(list(asked.headers), None, 0))
    assert stage.released() == [("a", "2")]
    await stage.clock.advance(3)
    assert len(stage.log.of("deliveries.ordered")) == 1


async def test_a_removed_endpoints_lines_leave_the_table_also_those_that_were_blocked(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    stage.feed.directory.remove_endpoint("ep")
    await stage.give(stage.step("open"))
    assert stage.released()[1:] == [("b", "1")]
    await stage.give(stage.settled(1, "cancelled"))
    assert stage.partition.tables["waiting"] == {}
    stage.feed.directory.put_endpoint(endpoint())
    await stage.give(stage.arrival("x", "other", at_ms=61_000))
    assert list(stage.partition.tables["queues"]) == [b"ep\nother"], "neither its lines nor its gate"


async def test_what_was_decided_before_the_partition_moved_is_not_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    before, append = dict(stage.partition.tables["queues"]), stage.log.append

    async def moved_meanwhile(topic: str, **record: Any) -> asyncio.Future[int]:
        if topic == "deliveries.dead":
            stage.partition.current = False
        return await append(topic, **record)

    monkeypatch.setattr(stage.log, "append", moved_meanwhile)
    stage.app.give(stage.partition, stage._record([*instruction("drop", "k")], None, 0))
    await stage.app.acked(stage.app.give(MemoryPartition(3), stage.arrival("c", "other")))  # after the first
    assert stage.dead() == [("b", "ordering_dropped")]
    assert stage.partition.tables["queues"] == before


@pytest.mark.parametrize("bound", ["_PART_OUTPUTS", "_PART_RECORDS", "_PART_BYTES"])
async def test_a_batch_is_worked_on_in_bounded_parts(stage: Stage, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(sequencer_role, bound, 3)
    names = [f"d{number}" for number in range(9)]
    batch = stage.app.give(
        stage.partition,
        *(stage.arrival(name, key=f"k{index % 3}") for index, name in enumerate(names)),
        *(stage.settled(number, key=f"k{number}") for number in range(3)),
    )
    await stage.app.acked(batch)
    assert [name for name, _ in stage.released()] == names[:6]
    assert len(batch.reached) >= 4 and batch.reached == sorted(batch.reached)
    assert batch.reached[-1] == 12 and batch.open == 0


async def test_what_a_long_line_gives_up_is_read_while_there_is_room_for_it(stage: Stage) -> None:
    names = [f"d{number}" for number in range(50)]
    await stage.give(*(stage.arrival(name) for name in names))
    reads: list[bytes] = []
    read, append = stage.partition.read, stage.log.append

    def noted(table: str, key: bytes) -> bytes | None:
        reads.extend([key] if table == "waiting" else [])
        return read(table, key)

    async def crowded(topic: str, **record: Any) -> asyncio.Future[int]:
        if len(stage.dead()) == 10:
            stage.log.crowd(True)
        return await append(topic, **record)

    stage.partition.read = noted  # type: ignore[method-assign]
    stage.log.append = crowded  # type: ignore[method-assign]
    batch = stage.app.give(stage.partition, stage._record(instruction("drop", "k"), None, 0))
    await stage.log.seen("deliveries.dead", 10)
    await settle()
    assert len(reads) <= 11, "the others are read when they can be written"
    stage.log.append = append  # type: ignore[method-assign]
    stage.log.crowd(False)
    await stage.app.acked(batch)
    assert stage.dead() == [(name, "ordering_dropped") for name in names[1:]]
    assert len(stage.partition.tables["waiting"]) == 1, "what is under way"
