"""The ladder: any due time is a walk down, never early, and memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.topics.names import rung_for
from app.roles.delay.ladder import Ladder, MoveDown, ReleaseDue

RUNGS = (
    ("1s", 1.0),
    ("5s", 5.0),
    ("30s", 30.0),
    ("1m", 60.0),
    ("5m", 300.0),
    ("30m", 1800.0),
    ("2h", 7200.0),
    ("8h", 28800.0),
)
MS = {name: 0 if name == "1s" else int(seconds * 1000) for name, seconds in RUNGS}


@given(st.lists(st.floats(0, 100_000), min_size=1, max_size=20))
def test_every_record_is_released_at_its_due_time(waits: list[float]) -> None:
    ladder: Ladder[tuple[str, int]] = Ladder(capacity=100, capacity_bytes=1000)
    now = 1_000_000
    dues = {}
    for number, wait in enumerate(waits):
        rung = rung_for(wait, RUNGS)
        item = (rung, number)
        dues[number] = now + round(wait * 1000)
        ladder.add((rung, 0), item, appended_ms=now, due_ms=dues[number], size=1, rung_ms=MS[rung])
    released: dict[int, int] = {}
    for _ in range(10_000):
        for order in ladder.step(now):
            if isinstance(order, ReleaseDue):
                released[order.item[1]] = now
            elif isinstance(order, MoveDown):
                rung = rung_for(order.wait_s, RUNGS)
                number = order.item[1]
                ladder.add((rung, 0), (rung, number), appended_ms=now, due_ms=dues[number], size=1, rung_ms=MS[rung])
        following = ladder.next_ms()
        if following is None:
            break
        now = max(now + 1, following)
    assert set(released) == set(dues)
    for number, at in released.items():
        assert 0 <= at - dues[number] <= 10


def test_only_the_head_of_a_partition_is_examined() -> None:
    ladder: Ladder[int] = Ladder(capacity=10, capacity_bytes=1000)
    for number in range(1000):
        ladder.add(("8h", 0), number, appended_ms=number, due_ms=number + 29_000_000, size=1, rung_ms=28_800_000)
    assert ladder.step(1_000_000) == []
    assert ladder.next_ms() == 28_800_000
    assert not ladder.reading(("8h", 0))


def test_memory_is_bounded_and_the_rest_waits_unread() -> None:
    ladder: Ladder[int] = Ladder(capacity=5, capacity_bytes=1000)
    for number in range(20):
        ladder.add(("1s", 0), number, appended_ms=0, due_ms=900, size=1, rung_ms=0)
    assert ladder.step(0) == []
    assert ladder.held == 5 and not ladder.reading(("1s", 0))
    assert len([order for order in ladder.step(900) if isinstance(order, ReleaseDue)]) == 20


def test_a_revoked_partition_is_forgotten() -> None:
    ladder: Ladder[str] = Ladder(capacity=5, capacity_bytes=1000)
    ladder.add(("1s", 0), "a", appended_ms=0, due_ms=500, size=1, rung_ms=0)
    ladder.add(("1s", 1), "b", appended_ms=0, due_ms=500, size=1, rung_ms=0)
    ladder.step(0)
    ladder.forget({("1s", 0)}, lambda item: ("1s", 0) if item == "a" else ("1s", 1))
    assert [order.item for order in ladder.step(1000)] == ["b"]


def test_the_bytes_held_are_bounded() -> None:
    ladder: Ladder[int] = Ladder(capacity=100, capacity_bytes=1000)
    for number in range(5):
        ladder.add(("1s", number), number, appended_ms=0, due_ms=900 + number, rung_ms=0, size=600)
    assert ladder.step(0) == []
    assert ladder.held == 2, "the second one passes the bound, and no third one follows"
    assert [order.item for order in ladder.step(2000)] == [2, 3, 4, 0, 1], "the rest went out at its due time"


def test_without_room_in_memory_a_head_is_still_released_at_its_due_time() -> None:
    ladder: Ladder[str] = Ladder(capacity=10, capacity_bytes=100)
    ladder.add(("r", 0), "held", appended_ms=0, due_ms=20_000, rung_ms=0, size=100)
    ladder.step(0)
    ladder.add(("r", 1), "soon", appended_ms=0, due_ms=1100, rung_ms=0, size=100)
    assert ladder.step(0) == []
    assert ladder.next_ms() == 1100
    assert ladder.step(1100) == [ReleaseDue("soon")]
