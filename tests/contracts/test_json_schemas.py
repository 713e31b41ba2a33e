"""Schemas of event types: events are judged, and no schema and no event can stop or slow who judges.

Nothing here looks at the clock. What would take long is never begun: where the old code froze, these tests would too.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.adapters import json_schemas
from app.adapters.json_schemas import JsonSchemaValidator, schema_problem
from app.core.model.event_types import EventType
from app.core.schemas.rules import Violation

#: what a tenant gave a type to freeze fan-out for everybody
FREEZING = {"type": "array", "items": {"pattern": "^(?!(.*)(.*)(.*)(.*)\\1\\2\\3\\4c)"}}
NAME = "/patternProperties/"


def event_type(schema: Any) -> EventType:
    return EventType(name="a.b", tenant="t", mode="live", schema=json.dumps(schema), enforce="reject")


def judged(schema: Any, data: Any) -> Violation | None:
    return JsonSchemaValidator().violation(event_type(schema), json.dumps(data).encode())


def doubling(times: int) -> dict[str, Any]:
    """A schema whose cost doubles with each definition."""
    steps = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(times)}
    return {"$ref": "#/$defs/d0", "$defs": steps | {f"d{times}": False}}


def nested(times: int, keyword: str, inner: Any) -> Any:
    for _ in range(times):
        inner = {keyword: [inner] if keyword in ("allOf", "anyOf", "oneOf") else inner}
    return inner


def deep(times: int) -> Any:
    return nested(times, "a", 1)


TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}
#: each level of data is looked at twice
TWICE = {"anyOf": [{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["z"]}] * 2}


class NeverAsked:
    """A validator whose use fails the test."""

    def __init__(self, schema: Any, **options: Any) -> None:
        self.schema = schema


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "object"},
        TREE,
        TWICE,
        doubling(8),
        {"properties": {"pattern": {"const": {"$ref": "x"}}}},
        {"enum": [{"pattern": "(?!x)"}]},
        {"pattern": r"^[A-Za-z0-9-]{0,61}\.(?:\w+@)?$"},
        {"multipleOf": 0.01},
        {"$id": "https://a.example/x", "$schema": "https://json-schema.org/draft/2020-12/schema"},
        {"unevaluatedProperties": False, "patternProperties": {"^x-": True}},
    ],
)
def test_a_sensible_schema_is_accepted(schema: Any) -> None:
    assert schema_problem(json.dumps(schema)) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 3},
        {"$ref": "http://127.0.0.1:9/x"},
        {"$ref": "#/nowhere"},
        {"$dynamicRef": "#x"},
        doubling(20),
        "text",
        nested(120, "not", {}),
        {"allOf": [{}] * 10_001},
    ],
)
def test_an_invalid_or_expensive_schema_is_refused(schema: Any) -> None:
    assert schema_problem(json.dumps(schema))


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        (FREEZING, "/items/pattern"),
        ({"pattern": r"(a+)\1"}, "/pattern"),
        ({"pattern": "(?<=a)b"}, "/pattern"),
        ({"pattern": "a++b"}, "/pattern"),
        ({"pattern": "a{1,1000}{1,1000}"}, "/pattern"),
        ({"pattern": "("}, "/pattern"),
        ({"pattern": "(" * 20_000 + ")" * 20_000}, "/pattern"),
        ({"patternProperties": {"(?=a/b)": True}}, NAME + "(?=a~1b)"),
        ({"properties": {"a": {"anyOf": [{}, {"not": {"pattern": "(?!x)"}}]}}}, "/properties/a/anyOf/1/not/pattern"),
        ({"$defs": {"never used": {"propertyNames": {"pattern": "(?!x)"}}}}, "/$defs/never used/propertyNames/pattern"),
        ({"$ref": "#/x/0", "x": [{"pattern": "(?!x)"}]}, "/x/0/pattern"),
        ({"unevaluatedProperties": False, "allOf": [{"patternProperties": {r"\bx": True}}]}, f"/allOf/0{NAME}\\bx"),
        ({"items": {"multipleOf": 1e-300}}, "/items/multipleOf"),
        ({"items": {"$id": "https://a.example/"}}, "/items/$id"),
        ({"items": {"$dynamicRef": "#x"}}, "/items/$dynamicRef"),
    ],
)
def test_a_schema_without_a_cost_bound_is_refused_with_a_pointer(schema: Any, pointer: str) -> None:
    problem = schema_problem(json.dumps(schema))
    assert problem is not None and problem.pointer == pointer


def test_many_patterns_are_refused() -> None:
    assert schema_problem(json.dumps({"patternProperties": {f"^{n}": True for n in range(201)}}))
    assert schema_problem(json.dumps({"patternProperties": {f"{n}[ab]{{400}}c": True for n in range(100)}}))


def test_a_violation_has_its_place() -> None:
    assert judged(TREE, {"left": {"n": 1}}) is None
    violation = judged(TREE, {"left": {"n": "x"}})
    assert violation is not None and violation.reason == "schema" and violation.detail.startswith("data/left/n: ")


@pytest.mark.parametrize("data", [b'{"n":1e999}', b"[" * 400 + b"]" * 400])
def test_data_that_cannot_be_validated_is_a_violation(data: bytes) -> None:
    violation = JsonSchemaValidator().violation(event_type({"type": "string"}), data)
    assert violation is not None and violation.detail.startswith("data")


def test_a_recreated_type_has_its_new_schema() -> None:
    judge = JsonSchemaValidator()
    assert judge.violation(event_type({"type": "string"}), b"{}") is not None
    assert judge.violation(event_type({"type": "object"}), b"{}") is None


def test_a_stored_schema_that_is_too_expensive_is_unusable() -> None:
    violation = judged(FREEZING, ["a" * 60] * 2500)
    assert violation is not None and violation.reason == "schema_unusable" and "/items/pattern" in violation.detail


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"items": {"pattern": "a[ab]{900}[c-z]"}}, ["ab" * 1000] * 50),
        (
            {"patternProperties": {f"{n}[ab]{{90}}c": True for n in range(20)}},
            {"ab" * 100 + str(n): 1 for n in range(900)},
        ),
        ({"items": {"enum": [f"v{n}" for n in range(5000)]}}, ["no"] * 20_000),
        ({"items": {"const": [[1] * 5000]}}, [[[1] * 10]] * 4000),
        ({"items": {"required": ["i", *(f"p{n}" for n in range(5000))]}}, [{"i": n} for n in range(20_000)]),
        ({"items": {"dependentRequired": {f"p{n}": ["q"] for n in range(3000)}}}, [{"i": 1}] * 20_000),
        (
            {"items": {"anyOf": [{"properties": {"a": {"type": "null"}}, "minProperties": n} for n in range(2000)]}},
            [{"a": 1}] * 2000,
        ),
        ({"contains": {"contains": {"anyOf": [{"const": n} for n in range(300)]}}}, [[0] * 300] * 300),
        ({"items": {"multipleOf": 0.01}}, [1.7e308] * 50_000),
        (TWICE, deep(100)),
        (TWICE, deep(200)),
        ({"allOf": [{"properties": {"a": {"$ref": "#"}}}] * 2}, deep(100)),
        ({"allOf": [{"additionalProperties": {"$ref": "#"}}] * 2, "unevaluatedProperties": {"$ref": "#"}}, deep(100)),
        (
            {"items": {"$ref": "#"}, "uniqueItems": True, "allOf": [{"items": {"$ref": "#"}}]},
            [[[[[[[1] * 9] * 9] * 9]]]] * 9,
        ),
    ],
)
def test_an_expensive_validation_is_not_started(schema: Any, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert schema_problem(json.dumps(schema)) is None, "it is the data that makes it costly"
    monkeypatch.setattr("jsonschema_rs.Draft202012Validator", NeverAsked)
    violation = judged(schema, data)
    assert violation is not None and violation.reason == "schema_too_costly"


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        (
            {"items": {"properties": {"w": {"type": "string"}, "at": {"type": "number"}}, "required": ["w"]}},
            [{"w": "word", "at": 1.5} for _ in range(9000)],
        ),
        ({"properties": {f"p{n}": {"type": "integer"} for n in range(1000)}}, {f"p{n}": n for n in range(1000)}),
        (
            {"items": {"pattern": "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$"}},
            ["0" * 8 + "-0000" * 3 + "-" + "0" * 12] * 500,
        ),
        ({"uniqueItems": True}, list(range(40_000))),
        (TREE, {"left": {"left": {"n": 1}, "right": {"right": {"n": 2}}}}),
        (TWICE, {"z": 1}),
        (
            {"items": {"oneOf": [{"properties": {"kind": {"const": n}}, "required": ["kind"]} for n in range(12)]}},
            [{"kind": n % 12, "text": "x" * 40} for n in range(600)],
        ),
        ({"allOf": [{"properties": {"a": True}}], "unevaluatedProperties": False}, {"a": [1] * 500}),
        ({"items": {"multipleOf": 0.01}}, [n / 4 for n in range(1000)]),
    ],
)
def test_large_events_of_ordinary_schemas_are_judged(schema: Any, data: Any) -> None:
    assert judged(schema, data) is None


def test_a_violation_is_not_located_if_that_costs_too_much() -> None:
    union = {"items": {"anyOf": [{"enum": [f"a{n}-{k}" for k in range(40)]} for n in range(5)]}}
    violation = judged(union, ["no"] * 500)
    assert violation is not None and violation.reason == "schema" and "would cost too much" in violation.detail


def test_validation_work_is_counted_whatever_the_result() -> None:
    judge = JsonSchemaValidator()
    costs = []
    for schema, data in (({"type": "integer"}, 1), ({"type": "integer"}, 1), (TWICE, deep(100)), (FREEZING, [])):
        before = judge.spent
        judge.violation(event_type(schema), json.dumps(data).encode())
        costs.append(judge.spent - before)
    compiled, again, walked, refused = costs
    assert compiled > 2_000_000 and refused > 2_000_000, "a slice of fan-out ends behind a schema that is new to it"
    assert 0 < again < 100 and walked > 2_000_000 + 400_000


def test_the_cache_of_schemas_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = JsonSchemaValidator()
    monkeypatch.setattr(json_schemas, "_CACHE_BYTES", 100_000)
    for number in range(50):
        judge.violation(event_type({"description": f"{number}" * 2000, "type": "string"}), b'"x"')
    assert len(judge._compiled) < 5 and judge._bytes <= 100_000 + 20 * 4100
