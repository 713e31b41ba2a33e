"""Slices of a batch: bounded, the same in sum wherever it is cut, and an event that was cut goes on where it was."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.event_types import EventType
from app.core.ordered_ids import OrderedIds
from app.core.topics.names import TopicName
from app.roles.fanout import reset_detection
from app.roles.fanout.plan import BatchPlan, BatchPlanner
from app.roles.fanout.reset_detection import Checkpoint, checkpoint_key, position_key
from app.roles.fanout.rules import FanoutRules
from tests.roles.fanout import planning
from tests.roles.fanout.planning import FanoutTables, Output, checkpoint_of, keys

RULES = FanoutRules(topic="events.raw", ttl_ms=1000, max_event_bytes=20_000)
FORWARD = reset_detection.ReadPosition(high=0)
TOPICS = (TopicName.DELIVERIES, TopicName.DELIVERIES_ORDERED, TopicName.DELIVERIES_DEAD)


class Record(msgspec.Struct, frozen=True):
    offset: int
    value: bytes
    timestamp: int = 1000
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = b"k"
    partition: int = 0


def event(offset: int, size: int = 1, **fields: Any) -> Record:
    return Record(offset, json.dumps({"type": "a.b", "id": f"e{offset}", "data": "x" * size} | fields).encode())


def directory(number: int) -> Directory:
    """Every seventh endpoint is paused, every fifth disabled, every third wants order."""
    where = Directory()
    for each in range(number):
        where.put_endpoint(
            Endpoint(
                id=f"ep_{each:05d}",
                tenant="default",
                mode="live",
                url="https://x.example",
                events=("*",),
                profile="standard",
                ordering="fifo" if each % 3 == 0 else "none",
                status="paused" if each % 7 == 1 else "disabled" if each % 5 == 1 else "active",
            )
        )
    return where


def slices(
    where: Directory,
    records: list[Record],
    rules: FanoutRules,
    checkpoint: Checkpoint | None = None,
    position: reset_detection.ReadPosition = FORWARD,
) -> list[BatchPlan]:
    tables, plans = FanoutTables(), []
    for plan in BatchPlanner(rules, tables.state(position, checkpoint), where, lambda: 7).plan(records):
        tables.write(plan)
        plans.append(plan)
    return plans


def outputs(plans: list[BatchPlan], topic: str) -> list[Output]:
    return [output for plan in plans for output in planning.outputs(plan, topic)]


@given(
    st.integers(0, 60),
    st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    st.integers(1, 70),
    st.integers(1, 20),
    st.sampled_from([4000, 40_000]),
)
def test_a_batch_in_slices_has_the_same_outputs_as_in_one_slice(
    endpoints: int, sizes: list[int], most: int, whole: int, most_bytes: int
) -> None:
    where = directory(endpoints)
    records = [event(offset, size, ordering_key=f"k{offset % 2}") for offset, size in enumerate(sizes)]
    small = msgspec.structs.replace(
        RULES, slice_outputs=most, whole_outputs=whole, slice_bytes=most_bytes, whole_bytes=most_bytes // 4
    )
    (one,), cut = slices(where, records, RULES), slices(where, records, small)
    for name in TOPICS:
        assert outputs(cut, name) == outputs([one], name)
    assert sum(plan.accepted for plan in cut) == sum(plan.ended for plan in cut) == len(records)
    assert sum(plan.fanned_out for plan in cut) == one.fanned_out
    assert [plan.upto for plan in cut] == sorted(plan.upto for plan in cut) and cut[-1].upto == len(records)
    for plan in cut:
        sizes = [len(each.value or b"") for each in plan.appends if each.topic in TOPICS]
        assert len(sizes) <= most + whole
        heaviest = max((size + 512 for size in sizes), default=0)
        assert sum(sizes) <= most_bytes * 5 // 4 + heaviest


def test_a_cut_event_continues_behind_its_checkpoint() -> None:
    where = directory(100)
    rules = msgspec.structs.replace(RULES, slice_outputs=10, whole_outputs=10)
    records = [event(0), event(1), event(2)]
    plans = slices(where, records, rules)
    (whole,) = slices(where, records, RULES)
    at = next(number for number, plan in enumerate(plans) if (each := checkpoint_of(plan)) and each.offset == 1)
    checkpoint = checkpoint_of(plans[at])
    position = reset_detection.read(plans[at].tables["positions"][position_key(0)])
    assert checkpoint is not None and position is not None and (plans[at].upto, position.high) == (1, 2)
    again = slices(where, records[1:], rules, checkpoint)
    for name in TOPICS:
        assert outputs(plans[: at + 1], name) + outputs(again, name) == outputs([whole], name)
    ends = [plan for plan in again if plan.upto == 2]
    assert ends[0].final_tables["positions"] == {checkpoint_key(0): None} or checkpoint_of(ends[0]) is not None


@pytest.mark.parametrize(
    ("record", "replay"),
    [(event(1, data="other"), ""), (Record(1, event(1).value, timestamp=1001), ""), (event(1), "rpl_x")],
    ids=["other bytes", "another time", "a replay"],
)
def test_a_checkpoint_applies_only_to_its_record_in_its_replay(record: Record, replay: str) -> None:
    where = directory(10)
    checkpoint = reset_detection.checkpoint(event(1), "", "ep_00007")
    position = reset_detection.ReadPosition(high=9, replay_id=replay, replay_until=9 if replay else 0)
    (plan,) = slices(where, [record], RULES, checkpoint, position)
    assert plan.fanned_out == 9, "all but the disabled"
    (behind,) = slices(where, [event(1)], RULES, checkpoint)
    assert keys(behind) == [b"ep_00009"] and not keys(behind, TopicName.DELIVERIES_ORDERED)


def test_each_slice_uses_the_current_settings_of_endpoints() -> None:
    where = directory(0)
    endpoint = Endpoint(
        id="", tenant="default", mode="live", url="https://x.example", events=("*",), profile="standard"
    )
    for name in "bdfh":
        where.put_endpoint(msgspec.structs.replace(endpoint, id=name))
    rules = msgspec.structs.replace(RULES, slice_outputs=2, whole_outputs=2)
    plans = BatchPlanner(rules, FanoutTables().state(FORWARD), where, lambda: 7).plan([event(0)])
    first = next(plans)
    assert keys(first) == [b"b", b"d"]
    for name in "aceg":
        where.put_endpoint(msgspec.structs.replace(endpoint, id=name))
    where.remove_endpoint("f")
    where.put_endpoint(msgspec.structs.replace(endpoint, id="h", status="disabled"))
    assert [key for plan in plans for key in keys(plan)] == [b"e", b"g"], "none twice, none of before"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4000)), max_size=300), st.integers(0, 4000), st.integers(1, 9))
def test_ids_stay_in_order_whatever_comes_and_goes(moves: list[tuple[bool, int]], after: int, limit: int) -> None:
    first = range(0, 4000, 3)
    ids, expected = OrderedIds(f"{number:04d}" for number in first), {f"{number:04d}" for number in first}
    for adds, number in moves:
        (ids.add if adds else ids.discard)(f"{number:04d}")
        (expected.add if adds else expected.discard)(f"{number:04d}")
    behind = sorted(each for each in expected if each > f"{after:04d}")
    assert ids.after(f"{after:04d}", limit) == behind[:limit]
    assert ids.after("", 5000) == sorted(expected)


def test_a_slice_ends_after_a_bounded_amount_of_work_for_schemas() -> None:
    where = Directory()
    where.put_event_type(EventType(tenant="default", mode="live", name="a.b", schema="{}", enforce="warn"))
    spent = 0

    def violation(event_type: EventType, data: bytes) -> None:
        nonlocal spent
        spent += 400_000

    planner = BatchPlanner(
        FanoutRules(topic="events.raw", ttl_ms=1000, max_event_bytes=2000),
        FanoutTables().state(FORWARD),
        where,
        lambda: 0,
        violation,
        spent=lambda: spent,
    )
    records = [event(number) for number in range(12)]
    assert [plan.upto for plan in planner.plan(records)] == [5, 10, 12]
