"""Wide events in the fan-out role: slice by slice, in turn with other partitions, and on from where they were."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from app.roles import ack_pipeline as shared_batches
from app.roles.fanout import reset_detection
from app.roles.fanout.reset_detection import checkpoint_key, position_key
from app.roles.fanout.rules import FanoutRules
from tests.fakes.clock import settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryRecord
from tests.fakes.stream import MemoryPartition
from tests.roles.fanout.test_role import POSITIONS, Stage, endpoint, event

NAMES = [f"ep_{number:02d}" for number in range(30)]
RULES = FanoutRules(topic="events.raw", ttl_ms=60_000, max_event_bytes=2000, slice_outputs=5, whole_outputs=5)


class WideStage(Stage):
    """Thirty endpoints of one tenant and one of another; a slice has five or six deliveries."""

    def __init__(self) -> None:
        super().__init__(RULES)
        self.feed = MemoryFeed(*(endpoint(name) for name in NAMES), endpoint("other", tenant="other"))
        self.role._feed = self.feed

    def checkpoint(self) -> reset_detection.Checkpoint | None:
        return reset_detection.read_checkpoint(self.partition.tables["positions"].get(checkpoint_key(0)))

    def moved(self, *, was_reset: bool = False, start: int = 0) -> MemoryPartition:
        """The partition after a crash: its tables are as they were."""
        again = MemoryPartition(start=start, was_reset=was_reset)
        again.tables = self.partition.tables
        self.partition = again
        return again

    def reached(self, event_id: str) -> list[str]:
        return [(key or b"").decode() for each, key in self.deliveries() if each == event_id]


@pytest.fixture
async def stage() -> AsyncIterator[WideStage]:
    made = WideStage()
    yield made
    await made.stop()


def elsewhere(offset: int) -> MemoryRecord:
    """Another tenant's event, in another partition."""
    return event(offset, id=f"other{offset}", tenant="other")._replace(partition=1)


async def test_the_finished_part_of_a_batch_may_be_committed(stage: WideStage) -> None:
    stage.start()
    batch = stage.give(event(0), event(1), event(2))
    await stage.app.acked(batch)
    assert [stage.reached(f"e{number}") for number in range(3)] == [NAMES] * 3
    assert batch.reached == sorted(batch.reached) and set(batch.reached) == {0, 1, 2, 3}
    assert batch.open == 0
    assert stage.checkpoint() is None, "what is finished needs none"
    noted = [record for record in stage.log.of(POSITIONS) if record.key == checkpoint_key(0)]
    assert len(noted) > 10
    assert "event_fanout_endpoints_sum 90.0" in stage.meter.exposition().decode().replace("hookstream_", "")


async def test_the_acknowledgements_of_a_wide_event_are_awaited_within_bounds(
    stage: WideStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_batches, "_MAX_RECORDS", 12)
    stage.log.hold("deliveries")
    stage.start()
    batch = stage.give(event(0))
    await stage.log.seen("deliveries", 10)
    await settle()
    assert len(stage.deliveries()) <= 12 + RULES.slice_outputs
    assert not batch.acked and stage.checkpoint() is None, "nothing of it is acknowledged"
    stage.log.release("deliveries")
    await stage.app.acked(batch)
    assert stage.reached("e0") == NAMES


async def test_a_checkpoint_covers_outputs_acknowledged_without_a_gap(stage: WideStage) -> None:
    stage.start()
    stage.log.hold("idempotency-changelog")
    batch = stage.give(event(0))
    await stage.log.seen("deliveries", len(NAMES))
    await settle()
    assert stage.checkpoint() is None, "later slices are acknowledged, the first is not"
    stage.log.release("idempotency-changelog")
    await stage.app.acked(batch)


async def test_other_partitions_are_processed_between_two_slices(stage: WideStage) -> None:
    stage.start()
    wide = stage.give(*(event(offset) for offset in range(10)))
    others = [stage.app.give(MemoryPartition(1), elsewhere(offset)) for offset in range(3)]
    for other in others:
        await stage.app.acked(other)
    assert not wide.acked and len(stage.deliveries()) < 10 * len(NAMES)
    await stage.app.acked(wide)


async def test_a_wide_event_continues_behind_its_checkpoint_after_a_crash(stage: WideStage) -> None:
    stage.start()
    stage.log.hold(POSITIONS)
    stage.give(event(0, ordering_key="o"))
    await stage.log.seen("deliveries", 10)
    stage.partition.current = False  # a crash: what is under way is never heard of again
    await settle()
    sent = stage.reached("e0")
    assert len(sent) < len(NAMES)
    acked = reset_detection.checkpoint(event(0, ordering_key="o"), "", sent[7])
    stage.partition.tables["positions"][checkpoint_key(0)] = reset_detection.write_checkpoint(acked)
    stage.moved()
    stage.log.release(POSITIONS)
    await stage.app.acked(stage.give(event(0, ordering_key="o"), event(1)))
    assert stage.reached("e0")[len(sent) :] == NAMES[8:]
    assert {
        record.header("sequence") for record in stage.log.of("deliveries") if record.header("event-id") == "e0"
    } == {"1"}
    assert stage.reached("e1") == NAMES


async def test_a_partition_about_to_be_revoked_begins_no_slice(stage: WideStage) -> None:
    stage.start()
    stage.log.hold("deliveries")
    batch = stage.give(event(0))
    await stage.log.seen("deliveries", 5)
    stage.partition.leaving = True
    await settle()
    sent = len(stage.deliveries())
    assert sent < len(NAMES)
    stage.log.release("deliveries")
    await settle()
    assert (batch.open, batch.acked, len(stage.deliveries())) == (0, False, sent)
    known = stage.checkpoint()
    assert known is not None and known.after == NAMES[sent - 1], "what was begun is finished and known"


async def test_a_reset_delivers_an_event_to_all_endpoints_again(stage: WideStage) -> None:
    half = reset_detection.checkpoint(event(0), "", NAMES[14])
    stage.partition.tables["positions"] = {
        position_key(0): reset_detection.write(reset_detection.ReadPosition(high=1)),
        checkpoint_key(0): reset_detection.write_checkpoint(half),
    }
    stage.moved(was_reset=True)
    stage.start()
    await stage.app.acked(stage.give(event(0), event(1)))
    replays = {record.header("replay-id") for record in stage.log.of("deliveries")[: len(NAMES)]}
    assert stage.reached("e0") == NAMES and None not in replays
    assert stage.checkpoint() is None


async def test_an_unfinished_event_counts_as_begun_for_a_reset(stage: WideStage) -> None:
    stage.start()
    stage.log.hold("deliveries")
    stage.give(event(0))
    await stage.log.seen("deliveries", 5)
    stored = reset_detection.read(stage.partition.tables["positions"][position_key(0)])
    assert stored == reset_detection.ReadPosition(high=1)
    assert msgspec.json.decode(reset_detection.write(stored)) == {"high": 1}
