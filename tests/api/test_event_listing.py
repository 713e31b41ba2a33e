"""The list of events on fakes: who sees which, and what became of each."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.request import Caller
from app.api.server.authentication import OPERATOR
from app.core.model.endpoint import Suspension
from app.core.model.event_types import EventType
from app.core.model.tenant import Tenant
from app.core.readmodel.rows import EventRow
from tests.api.read_stage import ACME, Stage

OTHER = Caller("k2", "other", "live", ("read",))


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    made.feed.directory.put_tenant(Tenant(id="acme", profile="standard"))
    return made


def row(number: int, **fields: Any) -> EventRow:
    """An event of acme at offset `number`."""
    named = {"tenant": "acme", "mode": "live", "event_id": f"e{number}", "event_type": "a.b", "result": "matched"}
    return EventRow(partition=0, offset=number, at_ms=1000 + number, **named | fields)


async def outcomes(stage: Stage, *, caller: Caller = ACME, **query: str) -> dict[str, str]:
    """Event id → outcome, in the order of the list."""
    found = await stage.ask("events.list", caller=caller, **query)
    return {each["id"]: each["outcome"] for each in found["data"]}


async def test_a_tenant_sees_its_own_events_newest_first(stage: Stage) -> None:
    stage.reads.index = [row(1), row(2, tenant="other"), row(3, mode="test"), row(4, result="duplicate", first=(0, 1))]
    assert await outcomes(stage) == {"e4": "duplicate", "e1": "matched"}
    assert await outcomes(stage, caller=OTHER) == {"e2": "matched"}
    assert await outcomes(stage, tenant="acme", mode="live") == await outcomes(stage)
    for query in ({"tenant": "other"}, {"mode": "test"}):
        assert await stage.refused("events.list", **query) == (403, "forbidden")


async def test_the_operator_sees_events_of_all_and_of_unknown_tenants(stage: Stage) -> None:
    rejected = row(5, tenant="", mode="", event_id="", result="rejected", reason="bad_tenant", detail="why")
    stage.reads.index = [row(1), row(2, tenant="typo"), row(3, event_type="x.y"), rejected]
    found = (await stage.ask("events.list", caller=OPERATOR))["data"]
    assert [each["id"] for each in found] == [None, "e3", "e2", "e1"]
    assert (found[0]["tenant"], found[0]["mode"], found[0]["reason"]) == (None, None, "bad_tenant")
    assert [each["tenant_known"] for each in found] == [False, True, False, True]
    assert await outcomes(stage, caller=OPERATOR, tenant="typo") == {"e2": "matched"}
    assert list(await outcomes(stage, caller=OPERATOR, unknown="tenant")) == [None, "e2"]
    stage.feed.directory.put_event_type(EventType(name="a.b", tenant="acme", mode="live"))
    assert list(await outcomes(stage, caller=OPERATOR, unknown="type")) == ["e3"]
    known = {each["id"]: each["type_known"] for each in (await stage.ask("events.list"))["data"]}
    assert known == {"e1": True, "e3": False}


async def test_an_event_without_deliveries_is_pending_while_an_endpoint_waits_for_it(stage: Stage) -> None:
    suspension = Suspension(kind="disabled", since_ms=0, begin={0: 0}, end={0: 3})
    stage.endpoint(events=("a.*",), created_at_ms=1002, suspensions=(suspension,))
    stage.reads.index = [row(number, result="unmatched") for number in (1, 2, 3)] + [
        row(4, result="unmatched", event_type="c.d")
    ]
    stage.reads.index.append(row(5, result="unmatched", tenant="", mode="", event_id=""))
    expected = {"e4": "unmatched", "e3": "pending", "e2": "unmatched", "e1": "unmatched"}
    assert await outcomes(stage) == expected
    assert await outcomes(stage, outcome="pending") == {"e3": "pending"}
    assert await outcomes(stage, outcome="unmatched") == dict.fromkeys(("e4", "e2", "e1"), "unmatched")
    assert (await outcomes(stage, caller=OPERATOR))[None] == "pending"  # type: ignore[index]


async def test_filters_and_pages(stage: Stage) -> None:
    stage.reads.index = [row(number, event_type=f"a.{number % 2}") for number in range(9)]
    assert list(await outcomes(stage, type="a.1")) == ["e7", "e5", "e3", "e1"]
    assert list(await outcomes(stage, type="a.*", id="e3")) == ["e3"]
    assert list(await outcomes(stage, since="1970-01-01T00:00:01.005Z", until="1970-01-01T00:00:01.007Z")) == [
        "e6",
        "e5",
    ]
    first = await stage.ask("events.list", limit="5")
    second = await stage.ask("events.list", limit="5", cursor=first["next_cursor"])
    assert [each["id"] for each in first["data"] + second["data"]] == [f"e{number}" for number in reversed(range(9))]
    assert second["next_cursor"] is None
    for query in (
        {"outcome": "lost"},
        {"unknown": "mode"},
        {"type": "a b"},
        {"mode": "beta"},
        {"id": ""},
        {"since": "never"},
        {"cursor": "x"},
        {"limit": "0"},
    ):
        assert await stage.refused("events.list", **query) == (400, "invalid_query"), query
