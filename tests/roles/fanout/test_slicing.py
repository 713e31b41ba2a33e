"""The size of slices follows how long they take, within bounds."""

from __future__ import annotations

from app.roles.fanout.slicing import SliceSize


def sizes(most: int, seconds: list[float]) -> list[int]:
    size = SliceSize(most)
    seen = [size.outputs]
    for each in seconds:
        size.took(each)
        seen.append(size.outputs)
    return seen


def test_slices_grow_while_they_are_quick_and_shrink_when_they_are_slow() -> None:
    grown = sizes(2000, [0.001] * 20)
    assert grown[0] == 500 and grown == sorted(grown) and grown[-1] == 2000
    assert sizes(2000, [0.03, 0.03]) == [500, 500, 500]
    assert sizes(4000, [1.0] * 10)[-4:] == [500] * 4
    assert sizes(50, [0.001, 1.0]) == [50, 50, 50]


def test_slices_fit_a_machine_that_needs_longer_for_each_output() -> None:
    size = SliceSize(2000)
    lasted = []
    for _ in range(50):
        lasted.append(size.outputs * 0.00004)
        size.took(lasted[-1])
    assert max(lasted) <= 0.05 and min(lasted[10:]) >= 0.01
