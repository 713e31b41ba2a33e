"""Event types on fakes: the operator's catalogue is seen by all tenants, whose own types extend it."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.handlers.subscriptions import types_of
from app.api.request import Caller
from app.api.server.authentication import OPERATOR
from tests.api.read_stage import Stage

OTHER = Caller("k2", "other", "test", ("read", "write"))


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def put(stage: Stage, name: str, caller: Caller, **body: Any) -> Any:
    return await stage.ask("event_types.put", body, of=name, caller=caller)


async def remove(stage: Stage, name: str, caller: Caller) -> None:
    assert await stage.ask("event_types.delete", of=name, caller=caller) is None


async def sources(stage: Stage, caller: Caller) -> dict[str, str]:
    found = await stage.ask("event_types.list", caller=caller)
    return {each["name"]: each["source"] for each in found["data"]}


async def test_all_tenants_see_the_catalogue_of_the_installation(stage: Stage) -> None:
    made = await put(
        stage, "order.paid", OPERATOR, description="Paid.", schema={"type": "object"}, example={"n": 1}, mode="warn"
    )
    assert (made["source"], made["version"], made["mode"], made["example"]) == ("installation", 1, "warn", {"n": 1})
    await put(stage, "own.type", OTHER)
    assert await sources(stage, OPERATOR) == {"order.paid": "installation"}
    assert await sources(stage, OTHER) == {"order.paid": "installation", "own.type": "tenant"}
    acme = Caller("k", "acme", "live", ("read", "write"))
    assert await sources(stage, acme) == {"order.paid": "installation"}
    assert "order.paid" in types_of(stage.services, "acme", "live", "standard")
    assert (await stage.ask("event_types.get", of="order.paid"))["example"] == {"n": 1}


async def test_a_tenants_own_type_takes_precedence(stage: Stage) -> None:
    await put(stage, "order.paid", OPERATOR, description="all")
    await put(stage, "order.paid", OTHER, description="own")
    assert (await stage.ask("event_types.get", of="order.paid", caller=OTHER))["description"] == "own"
    assert (await stage.ask("event_types.get", of="order.paid"))["description"] == "all"
    directory = stage.feed.directory
    for tenant, mode, owner in (("other", "test", "other"), ("other", "live", ""), ("acme", "live", "")):
        found = directory.event_type(tenant, mode, "order.paid")
        assert found is not None and found.tenant == owner
    await remove(stage, "order.paid", OTHER)
    assert (await stage.ask("event_types.get", of="order.paid", caller=OTHER))["source"] == "installation"


async def test_only_the_operator_removes_from_the_catalogue(stage: Stage) -> None:
    await put(stage, "order.paid", OPERATOR)
    assert await stage.refused("event_types.delete", of="order.paid", caller=OTHER) == (404, "not_found")
    await remove(stage, "order.paid", OPERATOR)
    assert await sources(stage, OPERATOR) == {}
    assert await stage.refused("event_types.get", of="order.paid", caller=OPERATOR) == (404, "not_found")
    assert await stage.refused("event_types.delete", of="order.paid", caller=OPERATOR) == (404, "not_found")


def document(**types: Any) -> dict[str, Any]:
    """An OpenAPI document with webhooks `order.<name>`."""
    return {
        "openapi": "3.1.0",
        "webhooks": {
            f"order.{name}": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}
            for name, schema in types.items()
        },
    }


async def imported(stage: Stage, given: dict[str, Any], caller: Caller = OPERATOR, **more: Any) -> Any:
    return await stage.ask("event_types.import_openapi", {"document": given, **more}, caller=caller)


async def test_a_dry_run_shows_what_an_import_would_change(stage: Stage) -> None:
    schema = {"type": "object", "properties": {"id": {"type": "integer"}, "old": {}}}
    first = await imported(stage, document(paid=schema, sent={}), dry_run=True)
    assert (first["added"], first["dry_run"]) == (2, True) and await sources(stage, OPERATOR) == {}
    assert (await imported(stage, document(paid=schema, sent={})))["added"] == 2
    assert await sources(stage, OTHER) == {"order.paid": "installation", "order.sent": "installation"}

    schema = {"type": "object", "properties": {"id": {"type": "string"}, "new": {}}}
    later = document(paid=schema, sent={}, made={}) | {}
    later["webhooks"]["no type"] = {}
    report = await imported(stage, later, dry_run=True)
    assert [report[name] for name in ("added", "changed", "unchanged", "skipped")] == [1, 1, 1, 1]
    changed, same, added, bad = report["event_types"]
    assert changed["differences"] == [
        {"pointer": "/schema/properties/new", "change": "added"},
        {"pointer": "/schema/properties/old", "change": "removed"},
        {"pointer": "/schema/properties/id/type", "change": "changed"},
    ]
    assert (same["action"], added["action"], bad["action"]) == ("unchanged", "add", "skip")
    assert "not a valid event type" in bad["reason"]
    directory = stage.feed.directory
    assert directory.event_types["", "", "order.paid"].version == 1, "nothing was written"
    await imported(stage, later)
    assert directory.event_types["", "", "order.paid"].version == 2
    assert directory.event_types["", "", "order.sent"].version == 1
    assert (await imported(stage, later))["unchanged"] == 3


async def test_an_import_keeps_the_mode_of_a_type_unless_it_sets_one(stage: Stage) -> None:
    await put(stage, "order.paid", OTHER, schema={}, mode="reject")
    await imported(stage, document(paid={"type": "object"}), OTHER)
    own = stage.feed.directory.event_types["other", "test", "order.paid"]
    assert (own.enforce, own.schema) == ("reject", '{"type":"object"}')
    report = await imported(stage, document(paid={"type": "object"}), OTHER, mode="warn")
    assert report["event_types"][0]["differences"] == [{"pointer": "/mode", "change": "changed"}]
    bare = {"openapi": "3.1.0", "webhooks": {"order.bare": {"post": {}}}}
    (skipped,) = (await imported(stage, bare, OTHER, mode="reject"))["event_types"]
    assert "needs a schema" in skipped["reason"]


async def test_an_invalid_document_is_refused(stage: Stage) -> None:
    refused = await stage.refused("event_types.import_openapi", {"document": {"openapi": "3.0.0"}}, caller=OPERATOR)
    assert refused == (422, "invalid")
