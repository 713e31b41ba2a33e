"""Runs of offsets are a set of offsets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.offsets.runs import Runs

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=30)


@given(SPANS, st.integers(0, 90))
def test_runs_contain_what_was_added_and_not_forgotten(spans: list[tuple[int, int]], low: int) -> None:
    runs, offsets = Runs(), set[int]()
    for start, length in spans:
        runs.add(start, start + length)
        offsets |= set(range(start, start + length))
    runs.forget_below(low)
    offsets = {each for each in offsets if each >= low}
    assert {each for start, stop in runs for each in range(start, stop)} == offsets
    assert all((each in runs) == (each in offsets) for each in range(100)) and bool(runs) == bool(offsets)
    bounds = [bound for run in runs for bound in run]
    assert bounds == sorted(set(bounds)), "runs that meet are one"
    for each in range(100):
        end = each
        while end in offsets:
            end += 1
        assert runs.end_of(each) == end
