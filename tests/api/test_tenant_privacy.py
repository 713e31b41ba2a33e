"""Days and hidden fields of a tenant over the API: who sets them, within which bounds, and what is shown then."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from app.api.problems import ApiError
from app.api.server.authentication import OPERATOR
from app.core import limits
from app.core.model.tenant import Tenant
from tests.api.read_stage import Stage
from tests.api.test_previews import Minter

CARD = {"card": {"number": "4242", "brand": "visa"}, "total": 5}


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    made.services = msgspec.structs.replace(made.services, minter=Minter())
    made.feed.directory.put_tenant(Tenant(id="acme", redact=("card.number",), version=1))
    return made


async def patch(stage: Stage, body: Any) -> Any:
    return await stage.ask("tenants.patch", body, caller=OPERATOR, of="acme")


async def test_both_are_set_kept_and_cleared(stage: Stage) -> None:
    shown = await patch(stage, {"retention_days": 30})
    assert (shown["retention_days"], shown["redact"]) == (30, ["card.number"])
    assert (await patch(stage, {"name": "Acme"}))["retention_days"] == 30
    shown = await patch(stage, {"retention_days": None, "redact": []})
    assert (shown["retention_days"], shown["redact"]) == (None, [])
    put = {"id": "acme", "retention_days": 1, "redact": ["a"]}
    shown = await stage.ask("tenants.put", put, caller=OPERATOR, of="acme")
    assert (shown["retention_days"], shown["redact"]) == (1, ["a"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"retention_days": 31}, "/retention_days"),
        ({"redact": [""]}, "/redact"),
        ({"redact": ["a..b"]}, "/redact"),
        ({"redact": [".".join("a" * (limits.INCLUDED_DEPTH + 1))]}, "/redact"),
    ],
)
async def test_faults_are_refused_with_their_places(stage: Stage, body: Any, pointer: str) -> None:
    with pytest.raises(ApiError) as caught:
        await patch(stage, body)
    assert caught.value.status == 422 and {each.pointer for each in caught.value.errors} == {pointer}


@pytest.mark.parametrize(
    "body",
    [
        {"retention_days": 0},
        {"retention_days": 3651},
        {"retention_days": 1.5},
        {"retention_days": True},
        {"redact": ["a"] * 10_000},
        {"redact": ["a" * (limits.INCLUDED_PATH + 1)]},
        {"redact": None},
    ],
)
async def test_values_out_of_bounds_are_refused(stage: Stage, body: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        await patch(stage, body)


async def test_the_data_of_an_event_is_shown_without_them(stage: Stage) -> None:
    record = stage.event("e1", data=CARD)
    stage.indexed(record)
    stage.endpoint(filter={"data": {"card": {"number": {"$eq": "1111"}}}})
    answer = await stage.ask("events.get", of="e1")
    assert answer["data"] == {"card": {"number": "[redacted]", "brand": "visa"}, "total": 5}
    assert "4242" not in json.dumps(answer), "not in the explanation of the filter either"
    assert any(each["why"] == "filtered" for each in answer["endpoints"]), "the filter has judged the event itself"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"envelope": "raw"},
        {"envelope": "thin"},
        {"envelope": "cloudevents-structured"},
        {"transform": "{x: data.card.number, y: join('-', [data.card.number, data.card.brand])}"},
        {"include_fields": ("card.number",)},
    ],
)
async def test_requests_are_shown_without_them_whatever_their_shape(stage: Stage, settings: Any) -> None:
    stage.endpoint(**settings)
    record = stage.event("e1", data=CARD)
    stage.indexed(record)
    row = stage.row(record)
    stage.attempt(row, 1)
    shown = await stage.ask("deliveries.get", of=row.id)
    assert shown["request"]["body"] and "4242" not in json.dumps(shown)
    assert "hidden fields" in shown["request"]["body_note"]
    stored = await stage.ask("previews.show", {"event_id": "e1"}, of="ep")
    assert stored["request"]["body"] and "4242" not in json.dumps(stored)
    given = {"event": {"type": "a.b", "data": CARD}, "envelope": "raw", "transform": None, "include_fields": None}
    assert "4242" in json.dumps(await stage.ask("previews.show", given, of="ep")), "the caller's own event"


async def test_other_tenants_see_their_data(stage: Stage) -> None:
    stage.feed.directory.put_tenant(Tenant(id="acme", redact=(), version=2))
    record = stage.event("e1", data=CARD)
    stage.indexed(record)
    assert (await stage.ask("events.get", of="e1"))["data"] == CARD
