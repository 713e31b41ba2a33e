"""The sequencer on fakes: it releases in order, stores what waits, and repeats in order after a crash."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.records.ordered import instruction
from app.roles.sequencer.role import worker as sequencer_role
from tests.fakes.clock import settle
from tests.fakes.stream import MemoryPartition
from tests.roles.sequencer.sequencer_stage import Stage, endpoint


async def test_a_key_has_one_delivery_in_flight_and_keys_are_independent(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.arrival("x", "other"), stage.arrival("c"))
    assert stage.released() == [("a", "0"), ("x", "2")]
    assert all(each.partition == 2 and each.value for each in stage.log.of("deliveries"))
    await stage.give(stage.settled(0))
    await stage.give(stage.settled(1), stage.settled(2, key="other"))
    assert stage.released()[2:] == [("b", "1"), ("c", "3")]
    await stage.give(stage.settled(3))
    assert stage.partition.tables["waiting"] == {}


async def test_a_new_worker_continues_from_the_tables(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    await stage.stop()
    stage.start()
    await stage.give(stage.settled(0))
    assert stage.released() == [("a", "0"), ("b", "1")]


async def test_records_read_again_release_only_the_delivery_in_flight(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.arrival("c"))
    await stage.give(stage.settled(0))
    before = stage.released()
    await stage.stop()
    stage.start()
    await stage.give(*stage.records)
    assert stage.released()[len(before) :] == [("b", "1")], "once, however many records are read again"
    await stage.give(stage.settled(1))
    assert stage.released()[-1] == ("c", "2")


async def test_a_dead_delivery_blocks_its_queue_until_it_is_skipped(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    assert stage.released() == [("a", "0")]
    await stage.give(stage._record(instruction("skip", "k"), None, 0))
    assert stage.released() == [("a", "0"), ("b", "1")]


async def test_a_blocked_queue_continues_when_the_endpoint_is_changed_to_skip(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    stage.feed.directory.put_endpoint(endpoint(on_exhausted="skip"))
    await stage.give(stage.arrival("c"))
    assert stage.released() == [("a", "0"), ("b", "1")]


async def test_dead_letters_are_written_before_the_tables(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    stage.log.hold("deliveries.dead")
    stage.app.give(stage.partition, stage._record(instruction("drop", "k"), None, 0))
    await stage.log.seen("deliveries.dead", 1)
    assert len(stage.partition.tables["waiting"]) == 2
    stage.log.release("deliveries.dead")
    await stage.give(stage.arrival("c"))
    assert stage.released()[-1] == ("c", "4")


@pytest.mark.parametrize("fields", [{"on_exhausted": "skip"}, {"status": "disabled"}])
async def test_a_dead_delivery_is_skipped_if_on_exhausted_is_skip(fields: dict[str, Any]) -> None:
    stage = Stage(**fields)
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    assert stage.released() == [("a", "0"), ("b", "1")]
    await stage.stop()


async def test_dropped_deliveries_are_dead_with_their_reason(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    await stage.give(stage._record(instruction("drop", "k"), None, 0), stage.arrival("c"))
    assert stage.dead() == [("b", "ordering_dropped")]
    assert stage.released()[-1] == ("c", "4")


async def test_a_record_that_cannot_be_decoded_is_skipped(stage: Stage) -> None:
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
async def test_a_damaged_table_counts_as_empty(stage: Stage, table: str) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    stored = stage.partition.tables[table]
    stored.update(dict.fromkeys(stored, b"\xc1 nonsense"))
    await stage.give(stage.arrival("c", "other"), stage.settled(0))
    assert ("c", "2") in stage.released()


async def test_idle_key_queues_leave_the_table_after_a_while(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.settled(0))
    await stage.give(stage.arrival("x", "other", at_ms=30_000))
    assert len(stage.partition.tables["queues"]) == 2
    await stage.give(stage.arrival("y", "other", at_ms=61_000))
    assert len(stage.partition.tables["queues"]) == 1


async def test_the_directory_is_as_recent_as_the_one_of_fan_out(stage: Stage) -> None:
    late = stage.arrival("a")
    late.headers.append(("registry-position", b"7"))
    stage.feed.blocked = True
    stage.app.give(stage.partition, late)
    await stage.feed.waited_for()
    assert stage.released() == []
    stage.feed.move(7)
    stage.feed.open()
    await stage.log.seen("deliveries", 1)


async def test_the_queues_of_a_removed_endpoint_leave_the_table(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"), stage.settled(0, "dead"))
    stage.feed.directory.remove_endpoint("ep")
    await stage.give(stage.step("open"))
    assert stage.released()[1:] == [("b", "1")]
    await stage.give(stage.settled(1, "cancelled"))
    assert stage.partition.tables["waiting"] == {}
    stage.feed.directory.put_endpoint(endpoint())
    await stage.give(stage.arrival("x", "other", at_ms=61_000))
    assert list(stage.partition.tables["queues"]) == [b"ep\nother"], "neither its queues nor its gate"


async def test_nothing_is_written_after_the_partition_has_moved(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_a_batch_is_processed_in_bounded_parts(stage: Stage, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
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


async def test_dead_letters_of_a_long_queue_are_read_one_at_a_time(stage: Stage) -> None:
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
