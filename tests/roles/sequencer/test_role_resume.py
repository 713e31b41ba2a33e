"""The sequencer on fakes, during a pause and its resume: it parks, holds and releases."""

from __future__ import annotations

import msgspec
import pytest

from app.core.records.ordered import instruction
from app.roles.sequencer.resume_gate import ResumeGate, prefix
from tests.roles.sequencer.sequencer_stage import Stage, endpoint


async def test_a_gate_with_a_key_that_is_not_utf_8_is_ignored(stage: Stage) -> None:
    stage.partition.tables["queues"] = {prefix(2) + b"\xff": msgspec.msgpack.encode(ResumeGate(5, "parking", "s"))}
    await stage.give(stage.arrival("a"))
    assert stage.released() == [("a", "0")]


async def test_a_pause_parks_arrivals_and_a_returned_delivery_waits_in_its_queue(
    stage: Stage,
) -> None:
    await stage.give(stage.arrival("a"), stage.arrival("b"))
    stage.feed.directory.put_endpoint(endpoint(status="paused"))
    await stage.give(stage.returned("a", 0, attempts=2), stage.arrival("c"), stage.arrival("x", "other"))
    assert stage.dead() == [("c", "paused"), ("x", "paused")] and stage.released() == [("a", "0")]
    stage.resume("running")
    await stage.give(stage.arrival("d"), stage.step("parking", "s"))
    assert stage.dead()[2:] == [("d", "paused")]
    assert stage.released()[1:] == [("a", "0")], "it goes on when the resume begins"
    again = stage.log.of("deliveries")[-1]
    assert (again.header("attempts"), again.header("settles"), again.header("resumed")) == ("2", None, None)


async def test_parked_deliveries_go_before_held_ones(stage: Stage) -> None:
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


async def test_a_reread_gate_step_releases_again(stage: Stage) -> None:
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


async def test_a_delivery_that_returns_after_its_queue_moved_on_is_parked(stage: Stage) -> None:
    await stage.give(stage.arrival("a"), stage.settled(0, "dead"), stage._record(instruction("skip", "k"), None, 0))
    stage.feed.directory.put_endpoint(endpoint(status="paused"))
    await stage.give(stage.returned("a", 0, attempts=4))  # it was retried on request
    assert stage.dead() == [("a", "paused")]
    assert stage.log.of("deliveries.dead")[0].header("arrival") is None, "its resume brings it as a new arrival"


@pytest.mark.parametrize("how", ["cancelled", "disabled", "removed"])
async def test_an_abandoned_gate_is_opened_by_the_sequencer(stage: Stage, how: str) -> None:
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
    assert stage.log.of("deliveries.ordered") == [], "the records of the resume are read before"
    await stage.clock.advance(1)
    (asked,) = stage.log.of("deliveries.ordered")
    assert (asked.key, asked.partition) == (b"ep", 2)
    await stage.give(stage._record(list(asked.headers), None, 0))
    assert stage.released() == [("a", "2")]
    await stage.clock.advance(3)
    assert len(stage.log.of("deliveries.ordered")) == 1
