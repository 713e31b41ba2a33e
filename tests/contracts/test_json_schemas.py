"""Schemas of event types: events are judged, and no schema and no event can stop or slow who judges."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.adapters.json_schemas import JsonSchemas, schema_problem
from app.core.model import EventType


def event_type(schema: Any) -> EventType:
    return EventType(name="a.b", tenant="t", mode="live", schema=json.dumps(schema), enforce="reject")


def doubling(times: int) -> dict[str, Any]:
    """A schema whose cost doubles with each definition."""
    steps = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(times)}
    return {"$ref": "#/$defs/d0", "$defs": steps | {f"d{times}": False}}


TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}}


@pytest.mark.parametrize("schema", [True, {}, {"type": "object"}, TREE, doubling(8)])
def test_a_sensible_schema_is_accepted(schema: Any) -> None:
    assert schema_problem(json.dumps(schema)) is None


@pytest.mark.parametrize(
    "schema",
    [{"type": 3}, {"$ref": "http://127.0.0.1:9/x"}, {"$ref": "#/nowhere"}, {"$dynamicRef": "#x"}, doubling(20), "text"],
)
def test_a_schema_that_is_none_or_too_dear_is_refused(schema: Any) -> None:
    assert schema_problem(json.dumps(schema))


def test_a_violation_has_its_place() -> None:
    judge = JsonSchemas()
    assert judge.violation(event_type(TREE), b'{"left":{"n":1}}') is None
    assert (judge.violation(event_type(TREE), b'{"left":{"n":"x"}}') or "").startswith("data/left/n: ")


@pytest.mark.parametrize("data", [b'{"n":1e999}', b"[" * 400 + b"]" * 400])
def test_data_that_cannot_be_judged_is_a_violation(data: bytes) -> None:
    assert "cannot be judged" in (JsonSchemas().violation(event_type({"type": "string"}), data) or "") or (
        "data" in (JsonSchemas().violation(event_type({"type": "string"}), data) or "")
    )


def test_a_type_that_was_removed_and_made_again_has_its_new_schema() -> None:
    judge = JsonSchemas()
    assert judge.violation(event_type({"type": "string"}), b"{}") is not None
    assert judge.violation(event_type({"type": "object"}), b"{}") is None
