"""The pages of event types: a tenant declares its own, the operator those of the installation."""

from __future__ import annotations

import msgspec
import pytest

from app.core.model.event_types import EventType
from tests.dashboard.attack_stage import portal_of
from tests.dashboard.stage import READ_ONLY, Browser, Stage, browser, hidden

LIVE = "/ui/t/acme/live"
SCHEMA = '{"type": "object", "required": ["id"]}'
FORM = {"name": "order.paid", "description": "Paid.", "mode": "reject", "schema": SCHEMA, "example": '{"id": 1}'}


def declared(stage: Stage, *scope: str) -> EventType | None:
    return stage.feed.directory.event_types.get((scope[0], scope[1], "order.paid"))


async def test_a_tenant_declares_changes_and_deletes_a_type(stage: Stage, acme: Browser) -> None:
    assert f'href="{LIVE}/declare-event-type"' in (await acme.get(f"{LIVE}/event-types"))[1]
    assert 'name="schema"' in (await acme.get(f"{LIVE}/declare-event-type"))[1]
    status, _, headers = await acme.post(f"{LIVE}/event-types", FORM)
    assert (status, headers["Location"]) == (303, f"{LIVE}/event-types/order.paid?done=saved")
    made = declared(stage, "acme", "live")
    assert made is not None and (made.description, made.enforce) == ("Paid.", "reject")
    assert msgspec.json.decode(made.schema or "") == msgspec.json.decode(SCHEMA)
    _, page, _ = await acme.get(f"{LIVE}/event-types/order.paid")
    assert "Paid." in page and ">Edit</a>" in page and ">Delete</button>" in page
    _, page, _ = await acme.get(f"{LIVE}/declare-event-type?name=order.paid")
    assert 'value="order.paid"' in page and "&#34;required&#34;" in page and 'value="reject" selected' in page
    await acme.post(f"{LIVE}/event-types", FORM | {"schema": "", "example": "", "mode": "off"})
    made = declared(stage, "acme", "live")
    assert made is not None and (made.schema, made.example, made.enforce) == (None, None, "off")
    status, _, headers = await acme.post(f"{LIVE}/event-types/order.paid/delete")
    assert (status, headers["Location"]) == (303, f"{LIVE}/event-types?done=type_deleted")
    assert declared(stage, "acme", "live") is None
    assert stage.actors == ["key_of_sk_live_acme"] * 3


async def test_the_operator_declares_types_that_all_tenants_see(stage: Stage, acme: Browser, operator: Browser) -> None:
    assert "No event types" in (await operator.get("/ui/event-types"))[1]
    status, _, headers = await operator.post("/ui/event-types", FORM)
    assert (status, headers["Location"]) == (303, "/ui/event-types/order.paid?done=saved")
    assert declared(stage, "", "") is not None
    assert "order.paid" in (await operator.get("/ui/event-types"))[1]
    assert ">Delete</button>" in (await operator.get("/ui/event-types/order.paid"))[1]
    _, page, _ = await acme.get(f"{LIVE}/event-types/order.paid")
    assert (
        "Declared for all tenants" in page and ">Declare for this tenant</a>" in page and ">Delete</button>" not in page
    )
    assert (await acme.post(f"{LIVE}/event-types/order.paid/delete"))[0] == 404
    await acme.post(f"{LIVE}/event-types", FORM | {"description": "Ours."})
    assert "Ours." in (await acme.get(f"{LIVE}/event-types/order.paid"))[1]
    assert (await operator.post("/ui/event-types/order.paid/delete"))[0] == 303
    assert declared(stage, "", "") is None and declared(stage, "acme", "live") is not None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ""}, "in segments joined by dots"),
        ({"name": "a b"}, "in segments joined by dots"),
        ({"name": "x" * 257}, "in segments joined by dots"),
        ({"schema": "{"}, "the schema is not JSON"),
        ({"schema": "[" * 100_000}, "the schema is not JSON"),
        ({"example": "nothing"}, "the example is not JSON"),
        ({"schema": "[]"}, "object"),
        ({"schema": '{"type": "nonsense"}'}, "nonsense"),
        ({"mode": "delete"}, "delete"),
        ({"description": "x" * 100_000}, "length"),
    ],
)
async def test_a_declaration_that_is_wrong_is_refused_beside_its_field(
    stage: Stage, acme: Browser, fields: dict[str, str], sentence: str
) -> None:
    status, page, _ = await acme.post(f"{LIVE}/event-types", FORM | fields)
    (name,) = fields
    assert status == 422 and sentence in page and f'id="{name}-error"' in page
    assert "&#34;id&#34;: 1" in page or name == "example", "the other fields stay as they were typed"
    assert not stage.actors


async def test_neither_readers_nor_customers_of_the_portal_declare_types(stage: Stage) -> None:
    portal = await portal_of(stage, scopes=["read", "write"])
    async with browser(stage, READ_ONLY) as reader:
        assert "declare-event-type" not in (await reader.get(f"{LIVE}/event-types"))[1]
        assert (await reader.post(f"{LIVE}/event-types", FORM))[0] == 403
    async with browser(stage) as customer:
        _, page, _ = await customer.get(f"{portal}/endpoints/new")
        customer.csrf = hidden(page, "csrf")
        assert "declare-event-type" not in (await customer.get(f"{portal}/event-types/user.created"))[1]
        assert (await customer.get(f"{portal}/declare-event-type"))[0] == 404
        for path in ("event-types", "event-types/order.paid/delete"):
            assert (await customer.post(f"{portal}/{path}", FORM))[0] == 404
    assert not stage.actors and not stage.feed.directory.event_types


async def test_a_test_begins_with_the_example_of_a_declared_type(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    await acme.post(f"{LIVE}/event-types", FORM)
    _, part, _ = await acme.get(f"{LIVE}/endpoints/ep_1/example?type=order.paid")
    assert "&#34;id&#34;: 1" in part
    assert "&#34;test&#34;: true" in (await acme.get(f"{LIVE}/endpoints/ep_1/example?type=order.sent"))[1]


async def test_a_payload_that_is_nested_too_deep_is_refused_in_every_form(stage: Stage, acme: Browser) -> None:
    stage.endpoint()
    _, page, _ = await acme.get(f"{LIVE}/events/new")
    deep = {"type": "ping", "data": "[" * 100_000, "key": hidden(page, "key")}
    for path in ("events", "endpoints/ep_1/test"):
        status, page, _ = await acme.post(f"{LIVE}/{path}", deep)
        assert status == 422 and "not JSON" in page, path
