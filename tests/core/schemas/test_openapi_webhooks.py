"""Event types out of OpenAPI documents, also out of hostile ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.core import limits
from app.core.schemas import openapi_webhooks
from app.core.schemas.openapi_webhooks import SkippedWebhook, WebhookBody, WebhookType, read_webhooks

ORDER = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer"}, "lines": {"type": "array", "items": {"$ref": "#/components/schemas/L"}}},
}
LINE = {"type": "object", "properties": {"parent": {"$ref": "#/components/schemas/L"}, "n": {"type": "number"}}}


def document(webhooks: dict[str, Any], **components: Any) -> dict[str, Any]:
    schemas = {"Order": ORDER, "L": LINE, **components.pop("schemas", {})}
    return {"openapi": "3.1.0", "webhooks": webhooks, "components": {"schemas": schemas, **components}}


def webhook(schema: Any = None, *, kind: str = "application/json", **operation: Any) -> dict[str, Any]:
    media = {"schema": schema if schema is not None else {"$ref": "#/components/schemas/Order"}}
    media |= {name: operation.pop(name) for name in ("example", "examples") if name in operation}
    return {"post": {"requestBody": {"content": {kind: media}}, **operation}}


def only(given: dict[str, Any], body: WebhookBody = "data", **components: Any) -> WebhookType:
    (read,) = read_webhooks(document({"order.paid": given}, **components), body)
    assert isinstance(read, WebhookType), read
    return read


def skipped(given: Any, name: str = "order.paid", body: WebhookBody = "data", **components: Any) -> str:
    (read,) = read_webhooks(document({name: given}, **components), body)
    assert isinstance(read, SkippedWebhook), read
    return read.reason


def test_a_webhook_is_an_event_type_with_a_schema_that_refers_to_itself() -> None:
    read = only(webhook(description="An order\n was paid.", example={"id": 1}))
    assert (read.name, read.description, read.example) == ("order.paid", "An order was paid.", '{"id":1}')
    schema = json.loads(read.schema or "")
    assert schema["$ref"] == "#/$defs/Order"
    assert schema["$defs"]["Order"]["properties"]["lines"]["items"] == {"$ref": "#/$defs/L"}
    assert schema["$defs"]["L"]["properties"]["parent"] == {"$ref": "#/$defs/L"}
    assert "components" not in (read.schema or "")


def test_parts_may_be_references_and_the_summary_describes() -> None:
    given = {"$ref": "#/components/pathItems/paid"}
    item = {"post": {"summary": "Paid", "requestBody": {"$ref": "#/components/requestBodies/b"}}}
    media = {"schema": {"type": "object"}, "examples": {"a": {"$ref": "#/components/examples/a"}}}
    read = only(
        given,
        pathItems={"paid": item},
        requestBodies={"b": {"content": {"application/vnd.x+json; charset=utf-8": media}}},
        examples={"a": {"value": [1]}},
    )
    assert (read.description, read.schema, read.example) == ("Paid", '{"type":"object"}', "[1]")


def test_the_data_of_an_envelope_is_the_events_data() -> None:
    envelope = {"type": "object", "properties": {"type": {"const": "x"}, "data": {"$ref": "#/components/schemas/L"}}}
    read = only(webhook(envelope, example={"type": "x", "data": {"n": 2}}), "envelope")
    assert json.loads(read.schema or "")["$ref"] == "#/$defs/L" and read.example == '{"n":2}'
    inherited = {"allOf": [{"type": "object"}, {"$ref": "#/components/schemas/Envelope"}]}
    read = only(webhook(inherited), "envelope", schemas={"Envelope": envelope})
    assert json.loads(read.schema or "")["$ref"] == "#/$defs/L"
    assert "no property data" in skipped(webhook({"type": "object"}), body="envelope")


def test_a_webhook_without_a_body_has_no_schema() -> None:
    read = only({"post": {"description": "x" * 2000}})
    assert (read.schema, read.example, len(read.description)) == (None, None, limits.DESCRIPTION)


@pytest.mark.parametrize(
    ("given", "name", "reason"),
    [
        (webhook(), "order paid", "not a valid event type"),
        (webhook(), "hookstream.x", "the service's own"),
        ({}, "a", "no operation"),
        ([], "a", "not an object"),
        (webhook(kind="text/xml"), "a", "not JSON"),
        ({"post": {"requestBody": {}}}, "a", "no content"),
        (webhook({"$ref": "https://x.example/s.json"}), "a", "does not lead to a schema"),
        (webhook({"$ref": "#/components/schemas/None"}), "a", "does not exist"),
        (webhook({"$ref": "#/info"}), "a", "does not lead to a schema"),
        ({"$ref": "#/components/pathItems/loop"}, "a", "form a circle"),
        (webhook({"description": "x" * 70_000}), "a", "the limit is 65536"),
    ],
)
def test_what_cannot_be_a_type_is_skipped_with_the_reason(given: Any, name: str, reason: str) -> None:
    assert reason in skipped(given, name, pathItems={"loop": {"$ref": "#/components/pathItems/loop"}})


def test_a_deep_schema_is_skipped() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"not": deep}
    assert skipped(webhook(deep)) == "its schema is nested too deeply"


def test_a_circular_envelope_is_skipped() -> None:
    loop = {"allOf": [{"$ref": "#/components/schemas/Loop"}]}
    assert skipped(webhook(loop), body="envelope", schemas={"Loop": loop})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "OpenAPI 3.1"),
        ({"openapi": 3.1, "webhooks": {}}, "OpenAPI 3.1"),
        ({"openapi": "3.0.3", "webhooks": {"a": {}}}, "OpenAPI 3.1"),
        ({"openapi": "3.1.0"}, "has none"),
        ({"openapi": "3.1.0", "webhooks": []}, "has none"),
        ({"openapi": "3.1.0", "webhooks": {f"a.{number}": {} for number in range(201)}}, "at most 200"),
    ],
)
def test_an_invalid_document_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_webhooks(given, "data")


def test_the_work_for_a_document_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi_webhooks, "MAX_NODES", 1000)
    large = {"enum": list(range(100))}
    webhooks = {f"a.{number}": webhook({"$ref": "#/components/schemas/Large"}) for number in range(20)}
    with pytest.raises(ValueError, match="too large together"):
        read_webhooks(document(webhooks, schemas={"Large": large}), "data")
