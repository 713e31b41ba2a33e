"""Lists, details and statistics of deliveries, on a read model in memory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.api.request import Caller
from app.core.model.tenant import ApiKey
from app.core.readmodel.rows import HourRow
from app.core.topics.names import TopicName
from tests.api.read_stage import Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def ids(stage: Stage, **query: Any) -> list[str]:
    return [each["event_id"] for each in (await stage.ask("deliveries.list", **query))["data"]]


def filled(stage: Stage) -> None:
    stage.endpoint("other")
    kinds: list[dict[str, Any]] = [
        {"state": "dead", "status": 500},
        {"state": "delivered", "status": 200, "result": "ok"},
        {"state": "retrying", "status": None, "result": "timeout", "endpoint": "other"},
        {"state": "pending", "status": None, "result": None, "event_type": "c.d", "replay_id": "rpl_1"},
    ]
    for number, fields in enumerate(kinds):
        stage.row(None, event_id=f"e{number}", id=f"dlv_{number}", created_at_ms=1_000 * number, **fields)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["e3", "e2", "e1", "e0"]),
        ({"state": "dead,retrying"}, ["e2", "e0"]),
        ({"endpoint": "other"}, ["e2"]),
        ({"event": "e1"}, ["e1"]),
        ({"type": "a.*"}, ["e2", "e1", "e0"]),
        ({"type": "c.d"}, ["e3"]),
        ({"type": "*", "status": "5xx"}, ["e0"]),
        ({"status": "200"}, ["e1"]),
        ({"result": "timeout"}, ["e2"]),
        ({"replay": "rpl_1"}, ["e3"]),
        ({"id": "dlv_1"}, ["e1"]),
        ({"id": "e2"}, ["e2"]),
        ({"since": "1970-01-01T00:00:02Z"}, ["e3", "e2"]),
        ({"until": "1970-01-01T00:00:01Z"}, ["e0"]),
        ({"event": "somebody's"}, []),
    ],
)
async def test_a_list_has_only_matching_deliveries(stage: Stage, query: dict[str, str], found: list[str]) -> None:
    filled(stage)
    assert await ids(stage, **query) == found


@pytest.mark.parametrize(
    "query",
    [
        {"state": "asleep"},
        {"state": ""},
        {"status": "6xx"},
        {"status": "99"},
        {"type": "a..b"},
        {"since": "soon"},
        {"until": "2026-01-01"},
        {"limit": "0"},
        {"cursor": "x"},
        {"id": ""},
        {"event": "\x00"},
        {"result": "x" * 257},
    ],
)
async def test_a_filter_with_an_invalid_field_is_refused(stage: Stage, query: dict[str, str]) -> None:
    assert await stage.refused("deliveries.list", **query) == (400, "invalid_query")


async def test_pages_have_every_delivery_once(stage: Stage) -> None:
    filled(stage)
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    for _ in range(4):
        page = await stage.ask("deliveries.list", limit="1", **cursor)
        seen += [each["event_id"] for each in page["data"]]
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
    assert seen == ["e3", "e2", "e1", "e0"] and not cursor


async def test_the_deliveries_of_an_endpoint_are_its_own(stage: Stage) -> None:
    filled(stage)
    found = await stage.ask("deliveries.of_webhook", of="other")
    assert [each["event_id"] for each in found["data"]] == ["e2"]
    assert await stage.refused("deliveries.of_webhook", of="nobody") == (404, "not_found")


@pytest.mark.parametrize("name", ["deliveries.get", "retries.retry", "retries.cancel", "events.get"])
@pytest.mark.parametrize(("tenant", "mode"), [("other", "live"), ("acme", "test")])
async def test_resources_of_other_tenants_seem_not_to_exist(stage: Stage, name: str, tenant: str, mode: Any) -> None:
    row = stage.row(stage.event())
    stranger = Caller.of(ApiKey(id="s", tenant=tenant, mode=mode, digest="", last4=""))
    id_ = "e1" if name == "events.get" else row.id
    assert await stage.refused(name, of=id_, caller=stranger) == (404, "not_found")
    assert (await stage.ask("deliveries.list", caller=stranger))["data"] == []
    assert not stage.log.of(TopicName.DELIVERIES)


async def test_a_delivery_is_shown_with_its_attempts_hints_and_request(stage: Stage) -> None:
    stage.endpoint(headers={"x-token": "t0p", "traceparent": "mine"})
    row = stage.row(stage.event(), status=401, result="http_4xx", sequence=3, ordering_key="k")
    stage.attempt(row, 1, next_attempt_at_ms=5_000)
    stage.attempt(row, 2, status=401, result="http_4xx", state="dead")
    found = await stage.ask("deliveries.get", of=row.id)
    assert (found["state"], found["attempt_count"], found["reason"]) == ("dead", 2, "exhausted")
    assert "signature" in found["hint"]["do"]
    first, second = found["attempts"]
    assert (first["number"], first["trigger"], first["next_attempt_at"]) == (1, "first", "1970-01-01T00:00:05.000Z")
    assert first["timing"] == {"connect": 3, "first_byte": 9, "total": 12.5}
    assert first["response"] == {"status": 500, "headers": {"server": "x"}, "body": "oops"}
    assert second["hint"] == found["hint"]
    request = found["request"]
    assert (request["method"], request["url"]) == ("POST", "https://ep.example/")
    assert '"n":1' in request["body"].replace(" ", "") and request["body_note"] is None
    shown = request["headers"]
    assert (shown["webhook-id"], shown["webhook-attempt"], shown["webhook-sequence"]) == ("e1", "2", "3")
    assert {shown["x-token"], shown["webhook-signature"], shown["traceparent"]} == {"(hidden)"}


async def test_a_body_deleted_by_retention_is_null_with_a_note(stage: Stage) -> None:
    row = stage.row(stage.event())
    stage.attempt(row, 1)
    stage.records.begins[TopicName.EVENTS_RAW, 0] = 1
    request = (await stage.ask("deliveries.get", of=row.id))["request"]
    assert request["body"] is None and "no longer" in request["body_note"]
    unknown = stage.row(None, id="dlv_x")
    stage.attempt(unknown, 1)
    request = (await stage.ask("deliveries.get", of="dlv_x"))["request"]
    assert request["body"] is None and "unknown" in request["body_note"]


async def test_coordinates_that_now_hold_another_event_are_rejected(stage: Stage) -> None:
    row = msgspec.structs.replace(stage.row(stage.event("somebody's")), event_id="e1")
    stage.put(row)
    stage.attempt(row, 1)
    assert (await stage.ask("deliveries.get", of=row.id))["request"]["body"] is None
    assert await stage.refused("retries.retry", of=row.id) == (409, "event_gone")


async def test_there_is_no_request_before_the_first_one_and_none_to_be_made_without_an_endpoint(stage: Stage) -> None:
    row = stage.row(stage.event(), state="pending", attempts=0, status=None, result=None, error=None, reason=None)
    found = await stage.ask("deliveries.get", of=row.id)
    assert (found["request"], found["attempts"], found["hint"]) == (None, [], None)
    stage.attempt(row, 1)
    stage.feed.directory.remove_endpoint("ep")
    request = (await stage.ask("deliveries.get", of=row.id))["request"]
    assert request["headers"] is None and "removed" in request["body_note"]


async def test_statistics_are_sums_by_hour_with_rates_and_latencies(stage: Stage) -> None:
    stage.endpoint("other")
    hour = 3_600_000
    now = stage.clock.now_ms() // hour * hour
    durations = [0, 0, 0, 0, 10] + [0] * 8
    one_hour = HourRow(begins_ms=now, attempts=10, failed_attempts=2, delivered=7, dead=1, durations=durations)
    before = msgspec.structs.replace(one_hour, begins_ms=now - hour)
    both = HourRow(
        begins_ms=now, attempts=20, failed_attempts=4, delivered=14, dead=2, durations=[2 * each for each in durations]
    )
    stage.reads.by_hour = {("acme", "live", None): [before, both], ("acme", "live", "other"): [one_hour]}
    stage.row(None)
    everything = await stage.ask("stats.get")
    assert (everything["attempts"], everything["failed_attempts"], everything["success_rate"]) == (30, 6, 0.8)
    assert (everything["delivered"], everything["dead"], everything["delivery_success_rate"]) == (21, 3, 0.875)
    assert everything["latency_ms"] == {"p50": 75.0, "p95": 97.5, "p99": 99.5}
    assert [each["attempts"] for each in everything["hours"]] == [10, 20]
    assert everything["as_of"] is not None
    one = await stage.ask("stats.of_webhook", of="other")
    assert (one["attempts"], len(one["hours"])) == (10, 1)
    assert (await stage.ask("stats.get", until="begin"))["until"] == "1970-01-01T00:00:00.000Z"
    nothing = await stage.ask("stats.get", since="begin", until="1970-01-01T01:00:00Z")
    assert (nothing["success_rate"], nothing["delivery_success_rate"]) == (None, None)
    assert nothing["latency_ms"] == {"p50": None, "p95": None, "p99": None}


@pytest.mark.parametrize("query", [{"since": "1h", "until": "2h"}, {"since": "100d"}, {"since": "x"}, {"until": ""}])
async def test_a_span_that_cannot_be_counted_is_refused(stage: Stage, query: dict[str, str]) -> None:
    assert await stage.refused("stats.get", **query) == (400, "invalid_query")
