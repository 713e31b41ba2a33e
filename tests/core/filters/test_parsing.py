"""What a filter may look like, and what is reported about one that is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import limits
from app.core.filters.parsing import EVENT_FIELDS, OPERATORS, parse

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5))
names = st.sampled_from([*EVENT_FIELDS, *OPERATORS, "$", "", "a", "~/", "total"])
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=30
)


def problems(filter_: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each.pointer, each.sentence) for each in parse(filter_).problems]


@pytest.mark.parametrize(
    "filter_",
    [
        {"type": "order.paid"},
        {"data": {"total": {"$gt": 1, "$lte": 2.5}}},
        {"metadata": {"region": {"$in": ["eu", 1, None, True]}}},
        {"$or": [{"id": {"$startsWith": "a"}}, {"$not": {"data": {"x": {"$exist": False}}}}]},
        {"data": {"tags": ["a", "b"]}},
        {"data": {"a": {"$or": ["x", {"$gt": "y"}], "b": 1}}},
    ],
)
def test_filters_in_the_operator_style_are_accepted(filter_: dict[str, Any]) -> None:
    parsed = parse(filter_)
    assert parsed.problems == []
    assert parsed.root is not None


@pytest.mark.parametrize(
    ("filter_", "pointer", "sentence"),
    [
        ({}, "", "has no condition"),
        ({"data": {}}, "/data", "has no condition"),
        ({"time": "x"}, "/time", "is not a field of an event"),
        ({"typ": "x"}, "/typ", "did you mean type?"),
        ({"data": {"a": {"$gtt": 1}}}, "/data/a/$gtt", "did you mean $gt?"),
        ({"data": {"a/b~": {"$gt": None}}}, "/data/a~1b~0/$gt", "takes a number"),
        ({"$gt": 1}, "/$gt", "name a field before it"),
        ({"data": {"a": {"$in": "x"}}}, "/data/a/$in", "takes an array"),
        ({"data": {"a": {"$in": []}}}, "/data/a/$in", "takes 1 to"),
        ({"data": {"a": {"$eq": {"b": 1}}}}, "/data/a/$eq", "takes a text"),
        ({"data": {"a": {"$exist": "yes"}}}, "/data/a/$exist", "true or false"),
        ({"data": {"a": {"$startsWith": ""}}}, "/data/a/$startsWith", "takes a text"),
        ({"$or": {"data": 1}}, "/$or", "takes an array"),
        ({"$or": []}, "/$or", "takes an array"),
        ({"$or": [1]}, "/$or/0", "must be an object"),
        ({"data": {"a": 10**30}}, "/data/a", "64 bits"),
        ({"data": {"a": {"$regex": "(a+)+"}}}, "/data/a/$regex", "is not an operator"),
    ],
)
def test_a_fault_is_reported_with_its_place(filter_: dict[str, Any], pointer: str, sentence: str) -> None:
    ((at, text),) = problems(filter_)
    assert at == pointer
    assert sentence in text


def test_all_faults_are_reported_at_once() -> None:
    faults = problems({"nope": 1, "data": {"a": {"$x": 1}, "b": {"$gt": []}}, "$and": [{"also": 1}]})
    assert [pointer for pointer, _ in faults] == ["/nope", "/data/a/$x", "/data/b/$gt", "/$and/0/also"]


def test_size_depth_number_and_lists_are_bounded() -> None:
    many = {f"f{number}": number for number in range(100_000)}
    assert problems({"data": many}) == [
        (f"/data/f{limits.FILTER_CONDITIONS}", "is one too many: a filter has at most 50 comparisons")
    ]
    long_list = {"data": {"a": {"$in": list(range(limits.FILTER_VALUES + 1))}}}
    assert problems(long_list) == [("/data/a/$in", "takes 1 to 200 values")]
    assert "bytes" in problems({"data": {"a": "x" * limits.FILTER_BYTES}})[0][1]
    deep: Any = 1
    for _ in range(100_000):
        deep = {"a": deep}
    assert "20 levels" in problems({"data": deep})[0][1]
    assert len(problems({"data": {f"${number}": 1 for number in range(1000)}})) == 20


@pytest.mark.parametrize("kind", ["$and", "$not", "list"])
def test_depth_is_bounded_for_every_kind_of_nesting(kind: str) -> None:
    deep: Any = {"a": 1}
    for _ in range(50_000):
        deep = [deep] if kind == "list" else {kind: [deep] if kind == "$and" else deep}
    assert any("20 levels" in sentence for _, sentence in problems({"data": deep}))


@given(st.dictionaries(names, json_values, max_size=4))
def test_any_json_is_parsed_or_has_problems(filter_: dict[str, Any]) -> None:
    parsed = parse(filter_)
    assert (parsed.root is None) == bool(parsed.problems)
    if parsed.root is not None:
        assert len(msgspec.json.encode(filter_)) <= limits.FILTER_BYTES
    assert all(pointer == "" or pointer.startswith("/") for pointer, _ in parsed.problems)
