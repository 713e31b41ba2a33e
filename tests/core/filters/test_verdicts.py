"""Filters are compiled once, evaluated once per event, and deliver what they cannot judge."""

from __future__ import annotations

from typing import Any

from app.core.errors import MalformedEvent
from app.core.filters import verdicts
from app.core.filters.verdicts import CompiledFilters, EventVerdicts


def test_an_event_is_read_once_and_only_when_a_filter_asks() -> None:
    reads: list[int] = []

    def read() -> dict[str, Any]:
        reads.append(1)
        return {"type": "a", "data": {"n": 5}}

    run = EventVerdicts(CompiledFilters(), read)
    assert reads == []
    assert run.accepts({"data": {"n": {"$gt": 1}}})
    assert not run.accepts({"data": {"n": {"$gt": 9}}})
    assert run.failure({"data": {"n": {"$gt": 1}}}) is None
    failed = run.failure({"data": {"n": {"$gt": 9}}})
    assert failed is not None
    assert failed.explanation == "data.n is 5, and not greater than 9"
    assert reads == [1]


def test_equal_filters_are_compiled_and_evaluated_once() -> None:
    filters = CompiledFilters()
    first, second = {"type": "a", "data": {"n": 1}}, {"data": {"n": 1}, "type": "a"}
    assert filters.of(first) is filters.of(second)
    run = EventVerdicts(filters, lambda: {"type": "a", "data": {"n": 1}})
    assert run.accepts(first)
    steps = run.steps
    assert run.accepts(second)
    assert run.accepts(first)
    assert run.steps == steps == 2


def test_an_event_that_cannot_be_judged_is_accepted() -> None:
    def unreadable() -> dict[str, Any]:
        raise MalformedEvent("not_an_event", "number out of range")

    assert EventVerdicts(CompiledFilters(), unreadable).accepts({"type": "b"})
    run = EventVerdicts(CompiledFilters(), lambda: {"data": [0] * 20_000})
    assert run.accepts({"data": 1})
    assert run.failure({"data": 1}) is None
    assert run.steps >= 10_000


def test_a_filter_that_this_version_cannot_parse_accepts() -> None:
    assert EventVerdicts(CompiledFilters(), lambda: {"data": 1}).accepts({"data": {"$later": 1}})


def test_the_memory_of_compiled_filters_is_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(verdicts, "_MOST_ENTRIES", 10)
    filters = CompiledFilters()
    each = [{"data": {"n": number}} for number in range(100)]
    compiled = [filters.of(filter_) for filter_ in each]
    assert len(filters._by_identity) <= 10
    assert len(filters._by_content) <= 10
    assert filters.of(each[0]) is not compiled[0]
    assert filters.steps > 100
