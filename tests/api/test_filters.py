"""Filters over the API: tried on an event, checked when an endpoint is written, and explained in an event's story."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.handlers import event_trace
from app.api.problems import ApiError
from tests.api.read_stage import Stage

LARGE = {"data": {"total": {"$gte": 100}}}


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_a_filter_is_tried_on_an_event(stage: Stage) -> None:
    event: dict[str, Any] = {"type": "order.paid", "data": {"total": 500}}
    assert await stage.ask("filters.test", {"filter": LARGE, "event": event}) == {"matches": True, "failed": None}
    event["data"]["total"] = 5
    assert await stage.ask("filters.test", {"filter": LARGE, "event": event}) == {
        "matches": False,
        "failed": {"pointer": "/data/total/$gte", "explanation": "data.total is 5, and not at least 100"},
    }


async def test_a_trial_decodes_the_event_as_fan_out_does(stage: Stage) -> None:
    event = {"specversion": "1.0", "id": "c", "source": "/s", "type": "a.b", "data": {"total": 500}}
    assert (await stage.ask("filters.test", {"filter": LARGE, "event": event}))["matches"]
    assert await stage.refused("filters.test", {"filter": LARGE, "event": {"data": 1}}) == (422, "invalid")
    assert await stage.refused("filters.test", {"filter": LARGE, "event": {"type": "no type", "data": 1}}) == (
        422,
        "invalid",
    )
    large = {"type": "a.b", "data": "x" * 20_000}
    assert await stage.refused("filters.test", {"filter": LARGE, "event": large}) == (413, "too_large")


@pytest.mark.parametrize("operation", ["filters.test", "webhooks.patch"])
async def test_all_faults_of_a_filter_are_reported_with_their_places(stage: Stage, operation: str) -> None:
    body: dict[str, Any] = {"filter": {"nope": 1, "data": {"a": {"$gtt": 1}}}}
    if operation == "filters.test":
        body["event"] = {"type": "a.b", "data": 1}
    with pytest.raises(ApiError) as caught:
        await stage.ask(operation, body, of="ep")
    assert caught.value.status == 422
    assert [each.pointer for each in caught.value.errors] == ["/filter/nope", "/filter/data/a/$gtt"]


async def test_an_endpoint_has_a_filter_until_it_is_cleared(stage: Stage) -> None:
    assert (await stage.ask("webhooks.patch", {"filter": LARGE}, of="ep"))["filter"] == LARGE
    assert (await stage.ask("webhooks.get", of="ep"))["filter"] == LARGE
    assert (await stage.ask("webhooks.patch", {"filter": None}, of="ep"))["filter"] is None


async def test_a_filter_that_is_nested_too_deeply_is_refused_before_it_is_sent(stage: Stage) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    assert await stage.refused("webhooks.patch", {"filter": {"data": deep}}, of="ep") == (422, "invalid")
    assert stage.commands == []


async def test_the_story_of_an_event_names_the_condition_that_refused_it(stage: Stage) -> None:
    stage.event("e1", data={"total": 5})
    stage.endpoint("ep", filter=LARGE)
    stage.endpoint("every")
    stage.endpoint("deaf", filter=LARGE, events=("c.*",))
    story = await stage.ask("events.get", of="e1", partition="0", offset="0")
    assert {each["endpoint"]: each["why"] for each in story["endpoints"]} == {
        "ep": "filtered",
        "every": "pending",
        "deaf": "not_subscribed",
    }
    explained = next(each["explanation"] for each in story["endpoints"] if each["why"] == "filtered")
    assert explained == "The endpoint's filter refuses the event: data.total is 5, and not at least 100."


async def test_a_story_evaluates_a_bounded_amount_of_filters(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_trace, "_FILTER_STEPS", 50)
    stage.event("e1", data={"total": 5})
    for number in range(10):
        stage.endpoint(f"ep{number}", filter={"data": {"total": number + 100}})
    story = await stage.ask("events.get", of="e1", partition="0", offset="0")
    reasons = [each["why"] for each in story["endpoints"]]
    assert 1 <= reasons.count("filtered") < 10
    assert reasons.count("filtered") + reasons.count("pending") == 11
