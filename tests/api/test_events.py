"""Why an endpoint got an event or did not, on fakes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.api.handlers import event_payloads, event_trace
from app.api.problems import ApiError
from app.api.server.authentication import OPERATOR
from app.core.model.endpoint import Suspension
from app.core.topics.names import TopicName
from tests.api.read_stage import Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


def why(found: dict[str, Any]) -> dict[str, str]:
    return {each["endpoint"]: each["why"] for each in found["endpoints"]}


async def test_each_endpoint_has_the_reason_for_or_against_an_event(stage: Stage) -> None:
    event = stage.event("e1")
    stage.event("later")
    row = stage.row(event, state="delivered")
    gone = stage.row(event, endpoint="gone", state="cancelled")
    stage.endpoint("deaf", events=("c.*",))
    stage.endpoint("late", created_at_ms=event.timestamp + 1)
    stage.endpoint("off", status="disabled", suspensions=(Suspension(kind="disabled", since_ms=0, begin={0: 0}),))
    stage.endpoint("held", suspensions=(Suspension(kind="paused", since_ms=0, begin={0: 0}, end={0: 1}),))
    stage.endpoint("after", status="paused", suspensions=(Suspension(kind="paused", since_ms=0, begin={0: 1}),))
    found = await stage.ask("events.get", of="e1")
    assert why(found) == {
        "ep": "matched",
        "gone": "removed",
        "deaf": "not_subscribed",
        "late": "created_later",
        "off": "disabled",
        "held": "paused",
        "after": "pending",
    }
    shown = {each["endpoint"]: each for each in found["endpoints"]}
    assert (shown["ep"]["delivery"], shown["ep"]["state"]) == (row.id, "delivered")
    assert (shown["gone"]["delivery"], shown["gone"]["url"]) == (gone.id, None)
    assert all(each["explanation"] for each in found["endpoints"])
    assert (found["type"], found["data"], found["partition"], found["offset"]) == ("a.b", {"n": 1}, 0, 0)
    assert found["duplicate_of"] is None


async def test_an_event_deleted_by_retention_is_explained_by_its_deliveries(stage: Stage) -> None:
    stage.row(stage.event("e1"))
    stage.records.begins[TopicName.EVENTS_RAW, 0] = 1
    found = await stage.ask("events.get", of="e1")
    assert found["data"] is None and "no longer" in found["data_note"]
    assert why(found) == {"ep": "matched"} and found["partition"] == 0


async def test_an_event_without_deliveries_is_located_by_its_coordinates(stage: Stage) -> None:
    stage.endpoint(events=("c.d",))
    stage.event("e1", partition=1)
    assert await stage.refused("events.get", of="e1") == (404, "not_found")
    found = await stage.ask("events.get", of="e1", partition="1", offset="0")
    assert why(found) == {"ep": "not_subscribed"} and found["data"] == {"n": 1}
    for place in ({"partition": "1", "offset": "5"}, {"partition": "7", "offset": "0"}):
        assert await stage.refused("events.get", of="e1", **place) == (404, "not_found")
    assert await stage.refused("events.get", of="other", partition="1", offset="0") == (404, "not_found")


async def test_an_event_without_deliveries_is_searched_for_on_request(stage: Stage) -> None:
    stage.endpoint(events=("c.d",))
    for number in range(5):
        stage.event(f"e{number}", partition=number % 2)
    found = await stage.ask("events.get", of="e3", since="1h")
    assert (found["partition"], found["offset"]) == (1, 1)
    assert await stage.refused("events.get", of="nobody", since="1h") == (404, "not_found")


async def test_an_incomplete_search_is_marked_and_can_be_continued(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_trace, "_SEARCHED", 3)
    monkeypatch.setattr(event_payloads, "_POLLED", 2)
    for number in range(10):
        stage.event(f"e{number}", partition=number % 2)
    query: dict[str, Any] = {}
    found: dict[str, Any] = {}
    tried = 0
    while not found:
        tried += 1
        try:
            found = await stage.ask("events.get", of="e9", since="1h", **query)
        except ApiError as error:
            assert (error.status, error.code) == (404, "not_found") and "records that were searched" in error.detail
            place = re.search(r"after=(\d+:\d+)", error.detail)
            assert place and place[1] != query.get("after"), "it gets on"
            query = {"after": place[1]}
    assert (found["partition"], found["offset"]) == (1, 4) and tried > 2
    assert await stage.refused("events.get", of="e9", since="1h", after="x") == (400, "invalid_query")


@pytest.mark.parametrize(
    "query", [{"partition": "1"}, {"offset": "1"}, {"partition": "x", "offset": "1"}, {"since": "x"}, {"since": ""}]
)
async def test_invalid_coordinates_are_refused(stage: Stage, query: dict[str, str]) -> None:
    stage.row(stage.event("e1"))
    assert await stage.refused("events.get", of="e1", **query) == (400, "invalid_query")


async def test_the_index_finds_an_event_without_deliveries(stage: Stage) -> None:
    stage.endpoint(events=("c.d", "x.*"))
    stage.indexed(stage.event("e1", partition=1))
    found = await stage.ask("events.get", of="e1")
    assert (found["partition"], found["offset"], found["data"]) == (1, 0, {"n": 1})
    assert (found["outcome"], found["tenant"], found["mode"]) == ("unmatched", "acme", "live")
    assert why(found) == {"ep": "not_subscribed"}
    assert "subscribes to c.d, x.*, which does not include a.b" in found["endpoints"][0]["explanation"]


async def test_a_duplicate_names_the_record_that_was_delivered(stage: Stage) -> None:
    first, again = stage.event("e1", idempotency_key="k"), stage.event("e2", idempotency_key="k")
    stage.row(first)
    stage.indexed(again, result="duplicate", first=(0, 0), first_ms=first.timestamp)
    found = await stage.ask("events.get", of="e2")
    assert (found["duplicate_of"]["partition"], found["duplicate_of"]["offset"]) == (0, 0)
    assert why(found) == {"ep": "duplicate"} and found["outcome"] == "duplicate"


async def test_of_several_records_with_one_id_the_accepted_one_is_shown(stage: Stage) -> None:
    stage.endpoint(events=("c.d",))
    first, again = stage.event("e1"), stage.event("e1")
    stage.indexed(first)
    stage.indexed(again, result="duplicate", first=(0, 0), at_ms=first.timestamp + 1)
    found = await stage.ask("events.get", of="e1")
    assert (found["offset"], found["outcome"], found["duplicate_of"]) == (0, "unmatched", None)
    assert (await stage.ask("events.get", of="e1", partition="0", offset="1"))["outcome"] == "duplicate"


async def test_a_rejected_event_has_its_reason(stage: Stage) -> None:
    bad = stage.event("e1", created_at="yesterday")
    stage.indexed(bad, result="rejected", reason="bad_created_at", detail="it is no time")
    found = await stage.ask("events.get", of="e1")
    assert (found["outcome"], found["reason"], found["detail"]) == ("rejected", "bad_created_at", "it is no time")
    assert found["data"] is None and "not a valid event" in found["data_note"]
    assert why(found) == {"ep": "rejected"}


async def test_the_operator_finds_an_event_of_any_tenant_by_its_id(stage: Stage) -> None:
    row = stage.row(stage.event("e1"), state="delivered")
    stage.indexed(stage.event("e1"), result="matched", offset=0)
    found = await stage.ask("events.get", of="e1", caller=OPERATOR)
    assert (found["tenant"], found["endpoints"][0]["delivery"]) == ("acme", row.id)
    stage.indexed(stage.event("typo", tenant="nobody"), tenant="nobody")
    found = await stage.ask("events.get", of="typo", caller=OPERATOR)
    assert (found["tenant"], found["outcome"], found["endpoints"]) == ("nobody", "unmatched", [])
    stage.indexed(stage.event("bad", tenant="?"), tenant="", mode="", result="rejected", reason="bad_tenant")
    found = await stage.ask("events.get", of="bad", caller=OPERATOR)
    assert (found["tenant"], found["mode"], found["reason"]) == (None, None, "bad_tenant")
    assert await stage.refused("events.get", of="bad") == (404, "not_found")
    assert await stage.refused("events.get", of="none", caller=OPERATOR) == (404, "not_found")


async def test_an_id_of_several_tenants_is_not_guessed(stage: Stage) -> None:
    stage.indexed(stage.event("e1"))
    stage.indexed(stage.event("e1", tenant="other", partition=1), tenant="other")
    assert await stage.refused("events.get", of="e1", caller=OPERATOR) == (409, "conflict")
    found = await stage.ask("events.get", of="e1", caller=OPERATOR, partition="1", offset="0")
    assert found["tenant"] == "other"
    assert (await stage.ask("events.get", of="e1"))["tenant"] == "acme"


async def test_records_with_the_same_id_are_distinguished_by_their_coordinates(stage: Stage) -> None:
    stage.row(stage.event("e1"))
    stage.event("e1")
    found = await stage.ask("events.get", of="e1", partition="0", offset="1")
    assert (found["duplicate_of"]["offset"], why(found)) == (0, {"ep": "duplicate"})
    assert why(await stage.ask("events.get", of="e1", partition="0", offset="0")) == {"ep": "matched"}
