"""The sequencer on fakes: what may leave leaves, what waits is remembered, and a crash repeats without disorder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.adapters.metrics import PrometheusMeter
from app.core import delivery_record
from app.core.fifo import Outcome
from app.core.model import Delivery, Endpoint
from app.core.ordered_record import instruction, settlement
from app.roles.sequencer import SequencerRole
from tests.fakes.clock import FakeClock
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.stream import MemoryPartition, MemoryStreamApp


def endpoint(**fields: Any) -> Endpoint:
    return Endpoint(
        id="ep", tenant="default", mode="live", url="https://x.example/", events=("*",), profile="standard",
        ordering="fifo", **fields,
    )  # fmt: skip


class Stage:
    """A sequencer with everything around it in memory; records of deliveries.ordered are given by hand."""

    def __init__(self, **fields: Any) -> None:
        self.log = MemoryLog(FakeClock())
        self.feed = MemoryFeed(endpoint(**fields))
        self.partition = MemoryPartition(2)
        self.records: list[MemoryRecord] = []
        self.start()

    def start(self) -> None:
        self.app = MemoryStreamApp()
        role = SequencerRole(
            app=lambda: self.app, log_=self.log, feed=self.feed, meter=PrometheusMeter(), deliveries="deliveries",
            dead="deliveries.dead", max_record_bytes=1_000_000,
        )  # fmt: skip
        self.running = asyncio.create_task(role.run())

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def _record(self, headers: list[tuple[str, bytes]], value: bytes | None, at_ms: int) -> MemoryRecord:
        made = MemoryRecord("deliveries.ordered", 2, len(self.records), at_ms, b"ep", value, headers)
        self.records.append(made)
        return made

    def arrival(self, name: str, key: str = "k", at_ms: int = 0) -> MemoryRecord:
        delivery = Delivery(
            id=name, endpoint_id="ep", event_id=name, event_type="a.b", tenant="acme", mode="live",
            created_at="2026-01-01T00:00:00Z", body=b"", ordering_key=key,
        )  # fmt: skip
        headers = delivery_record.encode(delivery)
        return self._record(headers, name.encode(), at_ms)

    def settled(self, offset: int, outcome: Outcome = "delivered", key: str = "k", at_ms: int = 0) -> MemoryRecord:
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
    assert stage.partition.tables["held"] == {}


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
    assert len(stage.partition.tables["held"]) == 2
    stage.log.release("deliveries.dead")
    await stage.give(stage.arrival("c"))
    assert stage.released()[-1] == ("c", "4")


@pytest.mark.parametrize("fields", [{"on_exhausted": "skip"}, {"status": "disabled"}, {"status": "paused"}])
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
        [("order", b"explode"), key],
        [("settled", b"0"), ("outcome", b"eaten"), key],
        [("settled", b"9" * 5000), ("outcome", b"delivered"), key],
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


@pytest.mark.parametrize("table", ["line", "held"])
async def test_a_table_that_holds_nonsense_counts_as_empty(stage: Stage, table: str) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    kept = stage.partition.tables[table]
    kept.update(dict.fromkeys(kept, b"\xc1 nonsense"))
    await stage.give(stage.arrival("c", "other"), stage.settled(0))
    assert ("c", "2") in stage.released()


async def test_lines_at_rest_leave_the_table_after_a_while(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.settled(0))
    await stage.give(stage.arrival("x", "other", at_ms=30_000))
    assert len(stage.partition.tables["line"]) == 2
    await stage.give(stage.arrival("y", "other", at_ms=61_000))
    assert len(stage.partition.tables["line"]) == 1
