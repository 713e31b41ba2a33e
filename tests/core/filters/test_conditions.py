"""Which events a filter accepts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.filters.conditions import MISSING, ElementCount, TooManyElements
from app.core.filters.parsing import parse
from app.core.limits import FILTER_ELEMENTS
from tests.core.filters.test_parsing import json_values, names


def accepts(condition: Any, data: Any) -> bool:
    root = parse({"data": condition}).root
    assert root is not None
    return root.matches({"data": data}, ElementCount())


@pytest.mark.parametrize(
    ("condition", "accepted", "refused"),
    [
        ("a", ["a", ["b", "a"]], ["b", 1, None, {}, [["a"]]]),
        (1, [1, 1.0, [1]], [True, "1", 2]),
        (True, [True], [1, "true", False]),
        (None, [None], [0, "", False, MISSING]),
        ({"$neq": "a"}, ["b", 1, None, ["b"], []], ["a", ["b", "a"], MISSING]),
        ({"$gt": 5}, [6, 5.5, 10**30, [1, 9]], [5, "6", None, True, MISSING, []]),
        ({"$gte": 5, "$lt": 7}, [5, 6.9], [7, 4]),
        ({"$lte": "2026-02"}, ["2026-01-31"], ["2026-02-01", 1]),
        ({"$in": ["a", 1, None, True]}, ["a", 1.0, None, True, ["x", "a"]], ["b", False, 2, {}, MISSING]),
        ({"$nin": ["a", 1]}, ["b", True, [], ["x"]], ["a", 1, ["x", "a"], MISSING]),
        ({"$startsWith": "ab"}, ["abc", ["x", "ab"]], ["a", 1, None]),
        ({"$endsWith": "bc"}, ["abc"], ["ab", 1]),
        ({"$exist": True}, [None, 0, [], {}], [MISSING]),
        ({"$exist": False}, [MISSING], [None, 0]),
        ({"a": {"$exist": False}}, [{}, {"b": 1}, MISSING, 5], [{"a": None}]),
        ({"a": {"b": 1}}, [{"a": {"b": 1}}, {"a": [{"b": 2}, {"b": 1}]}], [{"a": {"b": 2}}, {"a": 1}, {}]),
        ({"sku": "x", "n": {"$gt": 1}}, [[{"sku": "x", "n": 2}]], [[{"sku": "x", "n": 1}, {"sku": "y", "n": 2}]]),
        (["a", "b"], [["b", "c", "a"]], [["a"], "a", MISSING]),
        ({"$or": [1, {"$gt": 10}]}, [1, 11], [2]),
        ({"$and": [{"$gt": 1}, {"$lt": 3}]}, [2], [1, 3]),
        ({"$not": {"$gt": 5}}, [5, "x", MISSING], [6]),
        ({"$not": "a"}, ["b", MISSING], ["a", ["a"]]),
        ({"$exist": True, "a": 1}, [{"a": 1}], [{"a": 2}]),
    ],
)
def test_conditions(condition: Any, accepted: list[Any], refused: list[Any]) -> None:
    assert [value for value in accepted if not accepts(condition, value)] == []
    assert [value for value in refused if accepts(condition, value)] == []


@pytest.mark.parametrize(
    ("filter_", "pointer", "explanation"),
    [
        ({"data": {"total": {"$gte": 10}}}, "/data/total/$gte", "data.total is 5, and not at least 10"),
        ({"data": {"none": 1}}, "/data/none", "data.none is absent, and not 1"),
        ({"type": "a", "data": {"total": 5}}, "/type", 'type is "b", and not "a"'),
        ({"data": {"tags": "z"}}, "/data/tags", 'no element of data.tags is "z"'),
        ({"data": {"items": {"sku": "z"}}}, "/data/items", "no element of data.items meets all conditions"),
        ({"$or": [{"type": "x"}, {"type": "y"}]}, "/$or", "the event meets none of the 2 conditions of $or"),
        ({"data": {"$not": {"total": 5}}}, "/data/$not", "data meets the condition of $not"),
        ({"data": {"total": {"$exist": False}}}, "/data/total/$exist", "data.total exists"),
        ({"data": {"total": {"$nin": [5]}}}, "/data/total/$nin", "data.total is 5"),
    ],
)
def test_the_first_condition_that_fails_is_named(filter_: dict[str, Any], pointer: str, explanation: str) -> None:
    event = {"type": "b", "data": {"total": 5, "tags": ["a"], "items": [{"sku": "a"}]}}
    root = parse(filter_).root
    assert root is not None
    failed = root.failure(event, "", ElementCount())
    assert failed.pointer == pointer
    assert explanation in failed.explanation


def test_the_elements_that_one_evaluation_examines_are_bounded() -> None:
    nested = [{"b": [0] * 1000}] * 1000
    with pytest.raises(TooManyElements):
        accepts({"a": {"b": 1}}, {"a": nested})
    assert accepts(1, [0] * (FILTER_ELEMENTS - 1) + [1])


@given(st.dictionaries(names, json_values, max_size=4), json_values)
def test_no_event_raises_an_error_and_a_negation_is_the_opposite(filter_: dict[str, Any], data: Any) -> None:
    root = parse({"data": filter_}).root
    if root is None:
        return
    event = {"id": "1", "type": "a", "data": data}
    matches = root.matches(event, ElementCount())
    negation = parse({"$not": {"data": filter_}}).root
    assert negation is not None
    assert negation.matches(event, ElementCount()) is not matches
    if not matches:
        failed = root.failure(event, "", ElementCount())
        assert failed.pointer.startswith("/data") or failed.pointer == ""
        assert len(failed.explanation) < 2000
