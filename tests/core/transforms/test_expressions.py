"""Transforms: what an expression makes of an event, and that hostile ones end early."""

from __future__ import annotations

import json
from typing import Any

import jmespath
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core import limits
from app.core.errors import TransformFailed
from app.core.transforms import interpreter
from app.core.transforms.expressions import compiled_transform, transformed

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "type": "order.paid",
    "created_at": "2026-01-31T08:00:00.000Z",
    "metadata": {"region": "eu"},
    "data": {
        "total": 12.5,
        "customer": {"name": "Ada", "vip": True, "none": None},
        "items": [{"sku": "b", "n": 2, "tags": ["x"]}, {"sku": "a", "n": 1, "tags": []}, {"sku": "c", "n": 3}],
        "zero": 0,
        "texts": ["q", "p"],
        "empty": [],
    },
}

#: every kind of node and every function
EXPRESSIONS = [
    "data",
    "data.items[0].sku",
    "data.items[-1]",
    "data.items[*].sku",
    "data.items[].tags[]",
    "data.items[1:].n",
    "data.items[::-1].sku",
    "data.items[?n > `1`].sku",
    "data.items[?sku == 'a' || n >= `3`] | [0].n",
    "data.customer.*",
    "data.[total, zero]",
    "{event: type, who: data.customer.name, region: metadata.region}",
    "data.customer.vip && 'yes'",
    "data.customer.none || 'nobody'",
    "!(data.zero)",
    "!(data.customer.none)",
    "data.items[?contains(tags || `[]`, 'x')]",
    "data.items[0] == data.items[0]",
    "data.items != data.texts",
    "data.total < `13`",
    "type < 'z'",
    "abs(`-1`)",
    "avg(data.items[].n)",
    "ceil(data.total)",
    "floor(data.total)",
    "contains(type, 'paid')",
    "ends_with(type, 'paid')",
    "starts_with(type, 'order')",
    "join(', ', data.texts)",
    "keys(data.customer)",
    "values(data.customer)",
    "length(data.items)",
    "length(type)",
    "map(&sku, data.items)",
    "max(data.items[].n)",
    "max_by(data.items, &n).sku",
    "min(data.texts)",
    "min_by(data.items, &n)",
    "merge(data.customer, {a: `1`})",
    "not_null(data.nothing, data.total)",
    "reverse(data.texts)",
    "reverse(type)",
    "sort(data.texts)",
    "sort_by(data.items, &sku)[].sku",
    "sum(data.items[].n)",
    "to_array(data.total)",
    "to_number('1.5')",
    "to_string(data.items)",
    "type(data.items)",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_results_are_those_of_the_library(expression: str) -> None:
    wanted = jmespath.search(expression, EVENT)
    assert wanted is not None and compiled_transform(expression).problems == []
    assert json.loads(transformed(expression, EVENT)) == wanted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(data=json_values, operator=st.sampled_from(["==", "!=", "<", ">="]))
def test_comparisons_are_those_of_the_library_where_it_raises_nothing(data: Any, operator: str) -> None:
    inner = data.get("a") if isinstance(data, dict) else None
    assume(operator in ("==", "!=") or not (isinstance(data, str) or isinstance(inner, str)))
    event = {"data": data, "other": 1}
    expression = f"{{r: data {operator} other, s: other {operator} data.a, t: data.a == data.b}}"
    assert json.loads(transformed(expression, event)) == jmespath.search(expression, event)


def test_a_text_and_a_number_are_not_in_order() -> None:
    assert transformed("{r: data < `1`}", {"data": "a"}) == b'{"r":null}'


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "is empty"),
        ("data.", "at character"),
        ("data..a", "at character 6: '.'"),
        ("data[?a=1]", "not a JMESPath expression"),
        ("'open", "not a JMESPath expression"),
        ("#", "not a JMESPath expression"),
        ("nope(data)", "nope() is not a function, one of abs, "),
        ("abs()", "abs() takes 1 argument, and not 0"),
        ("join(',')", "join() takes 2 arguments, and not 1"),
        ("merge()", "merge() takes 1 argument, and not 0"),
        ("&data", "& stands before an argument"),
        ("to_string(&data)", "& stands before an argument"),
        ("data[::0]", "a step of 0"),
        ("a" * (limits.TRANSFORM + 1), f"at most {limits.TRANSFORM} characters"),
        ("(" * 1000 + "a" + ")" * 1000, "nested more deeply"),
        ("!" * 2000 + "a", "nested more deeply"),
        ("[" + ",".join("a" * limits.TRANSFORM_NODES) + "]", "more than 200 parts"),
        ("a" + "|a" * (limits.TRANSFORM_DEPTH + 5), "levels of them"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_with_the_reason(expression: str, words: str) -> None:
    compiled = compiled_transform(expression)
    assert compiled.root is None and words in "; ".join(compiled.problems)
    with pytest.raises(TransformFailed):
        transformed(expression, EVENT)


BIG = list(range(limits.TRANSFORM_STEPS * 10))
DOUBLED = "|".join(["[@,@]"] * 20)
HOSTILE: dict[str, tuple[str, Any]] = {
    "a value that doubles": ("|".join(["[@,@]"] * 45), 1),
    "a list that doubles": ("|".join(["[@,@][]"] * 20), 1),
    "a list that grows tenfold": ("|".join(["[@,@,@,@,@,@,@,@,@,@][]"] * 8), 1),
    "two equal values that double": (f"(data.a|{DOUBLED}) == (data.b|{DOUBLED})", {"a": [1], "b": [1]}),
    "a search in a value that doubles": (f"contains(data|{DOUBLED}, (data|{DOUBLED}))", [1]),
    "a value that doubles as text": (f"to_string(data|{DOUBLED}) | length(@)", [1]),
    "a wrong argument that doubles": ("abs(data|" + "|".join(["[@,@]"] * 40) + ")", 1),
    "a long separator": ("join(data.text, data.texts)", {"text": "x" * 100_000, "texts": ["a"] * 50_000}),
    "a text that doubles": ("data|" + "|".join(["join('', [@,@])"] * 20), "x" * 1000),
    "a loop in a loop": ("data[*].items[*].items[*].[@,@,@]", [{"items": [{"items": BIG[:100]}] * 100}] * 100),
    "a filter over a long list": ("data[?@ > `1` && @ < `5` || @ == `9`]", BIG),
    "a long list that is sorted": ("sort(data)", BIG),
    "a long list that is sorted by a key": ("sort_by(data, &@)", BIG),
    "a long list that is flattened": ("data[]", [BIG[:1000]] * 1000),
    "a long list that is cut": ("data[1:] | [1:] | [1:]", BIG * 10),
    "a long object": ("keys(data) | values(@)", {str(number): 1 for number in BIG}),
    "a long result": ("data", "x" * limits.TRANSFORM_BYTES),
    "a result of escapes": ("data", "\0" * (limits.TRANSFORM_BYTES // 2)),
    "a number that is not finite": ("to_number('1e999')", 1),
    "no number": ("to_number('nan')", 1),
    "an infinite sum": ("sum(data)", [1e308, 1e308]),
    "a number of too many digits": ("to_number(data)", "9" * 5000),
    "a wrong type": ("abs(data)", "planted"),
    "half a character": ('"\\ud800" || `"\\ud800"`', 1),
}


@pytest.mark.parametrize(("expression", "data"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_transform_fails_without_a_quotation_of_the_event(
    expression: str, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = 0
    visit = interpreter.BoundedInterpreter.visit

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal visits
        visits += 1
        return visit(self, *args, **kwargs)

    monkeypatch.setattr(interpreter.BoundedInterpreter, "visit", counted)
    with pytest.raises(TransformFailed) as caught:
        transformed(expression, {"data": data})
    assert visits <= limits.TRANSFORM_STEPS + 1
    assert len(str(caught.value)) < 200 and "planted" not in str(caught.value)


def test_data_that_is_nested_deeply_fails() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(TransformFailed, match="nested too deeply"):
        transformed("data", {"data": deep})


def test_a_result_of_null_fails_instead_of_sending_nothing() -> None:
    with pytest.raises(TransformFailed, match="its result is null"):
        transformed("data.totl", EVENT)
    assert transformed("{total: data.totl}", EVENT) == b'{"total":null}'


def test_values_that_are_repeated_within_bounds_are_written() -> None:
    assert json.loads(transformed("|".join(["[@,@]"] * 3), EVENT))[0][0][0] == EVENT


def test_the_cache_is_bounded_and_the_librarys_own_is_empty() -> None:
    from jmespath.parser import Parser

    for number in range(1000):
        compiled_transform(f"data.f{number}")
    assert compiled_transform.cache_info().currsize <= 256
    assert not Parser._CACHE
    assert compiled_transform("data.f999") is compiled_transform("data.f999")
