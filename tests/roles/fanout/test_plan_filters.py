"""Deliveries are made only for endpoints whose filters accept the event, at a bounded cost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.core.directory import Directory
from app.core.filters.verdicts import EventVerdicts
from app.core.model.endpoint import Endpoint
from app.core.topics.names import TopicName
from app.roles.fanout import plan as plan_module
from app.roles.fanout.plan import BatchPlan, BatchPlanner
from app.roles.fanout.rules import FanoutRules
from tests.roles.fanout.planning import FanoutTables, keys
from tests.roles.fanout.test_plan_slices import FORWARD, RULES, Record, slices

LARGE = {"data": {"total": {"$gte": 100}}}


def directory(**filters: dict[str, Any] | None) -> Directory:
    """Endpoints by id, with their filters."""
    where = Directory()
    for id_, filter_ in filters.items():
        where.put_endpoint(endpoint(id_, filter=filter_))
    return where


def endpoint(id_: str, **fields: Any) -> Endpoint:
    url = "https://x.example"
    return Endpoint(id=id_, tenant="default", mode="live", url=url, events=("*",), profile="standard", **fields)


def event(offset: int, data: Any, **fields: Any) -> Record:
    return Record(offset, json.dumps({"type": "a.b", "id": f"e{offset}", "data": data} | fields).encode())


def plan(where: Directory, *records: Record) -> BatchPlan:
    (planned,) = slices(where, list(records), RULES)
    return planned


def test_an_event_that_a_filter_refuses_makes_no_delivery_for_its_endpoint() -> None:
    where = directory(all=None, large=LARGE, region={"metadata": {"region": "eu"}})
    planned = plan(where, event(0, {"total": 5}), event(1, {"total": 500}, metadata={"region": "eu"}))
    assert keys(planned) == [b"all", b"all", b"large", b"region"]
    assert (planned.filtered, planned.unmatched, planned.accepted) == (2, 0, 2)


def test_an_event_that_all_filters_refuse_is_unmatched() -> None:
    planned = plan(directory(a=LARGE, b=LARGE), event(0, {"total": 5}))
    assert (keys(planned), planned.filtered, planned.unmatched) == ([], 2, 1)


@pytest.mark.parametrize("status", ["paused", "disabled"])
def test_a_refused_event_is_not_parked_either(status: Any) -> None:
    where = Directory()
    where.put_endpoint(endpoint("ep", status=status, filter=LARGE))
    where.put_endpoint(endpoint("fifo", status=status, filter=LARGE, ordering="fifo"))
    assert plan(where, event(0, {"total": 5}, ordering_key="o")).appends == []


def test_filters_see_cloud_events() -> None:
    structured = {"specversion": "1.0", "id": "c", "source": "/s", "type": "a.b"}
    records = [
        Record(0, json.dumps(structured | {"data": {"total": 500}}).encode()),
        Record(1, json.dumps(structured | {"id": "d", "data_base64": "eyJ0b3RhbCI6NTAwfQ=="}).encode()),
        Record(2, json.dumps(structured | {"id": "f"}).encode()),
        Record(
            3,
            b'{"total": 500}',
            headers=(("ce_specversion", b"1.0"), ("ce_id", b"b"), ("ce_source", b"/s"), ("ce_type", b"a.b")),
        ),
    ]
    assert len(keys(plan(directory(ep=LARGE), *records))) == 3


def test_an_event_whose_numbers_cannot_be_compared_is_delivered() -> None:
    value = b'{"type": "a.b", "id": "e", "data": {"total": 1e999}}'
    assert keys(plan(directory(ep=LARGE), Record(0, value))) == [b"ep"]


def test_an_event_is_decoded_for_filters_only_if_an_endpoint_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    class CountedVerdicts(EventVerdicts):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            decoded.append("event")

    monkeypatch.setattr(plan_module, "EventVerdicts", CountedVerdicts)
    assert len(keys(plan(directory(a=None, b=None), event(0, {})))) == 2
    assert decoded == []
    plan(directory(a=LARGE, b=LARGE, c=None), event(0, {}))
    assert decoded == ["event"]


def test_each_slice_evaluates_a_bounded_amount_of_filters() -> None:
    rules = FanoutRules(topic="events.raw", ttl_ms=1000, max_event_bytes=200_000, slice_filter_steps=25_000)
    where = directory(**{f"ep{number:03}": {"data": {"n": number}} for number in range(20)})
    planned = slices(where, [event(0, {"n": [7] * 9_000}), event(1, {})], rules)
    assert len(planned) > 5
    assert [key for each in planned for key in keys(each)] == [b"ep007"]
    assert sum(each.filtered for each in planned) == 39
    assert sum(each.ended for each in planned) == 2
    whole = slices(where, [event(0, {"n": [7] * 9_000}), event(1, {})], FanoutRules(**_fields(rules)))
    assert [key for each in whole for key in keys(each)] == [b"ep007"]


def _fields(rules: FanoutRules) -> dict[str, Any]:
    return {"topic": rules.topic, "ttl_ms": rules.ttl_ms, "max_event_bytes": rules.max_event_bytes}


def test_a_cut_event_continues_behind_the_endpoints_that_were_judged() -> None:
    rules = FanoutRules(topic="events.raw", ttl_ms=1000, max_event_bytes=200_000, slice_filter_steps=1)
    where = directory(a={"data": 1}, b=None, c={"data": 1}, d={"data": 2}, e=None)
    planner = BatchPlanner(rules, FanoutTables().state(FORWARD), where, lambda: 0)
    planned = list(planner.plan([event(0, 1)]))
    assert [key for each in planned for key in keys(each, TopicName.DELIVERIES)] == [b"a", b"b", b"c", b"e"]
