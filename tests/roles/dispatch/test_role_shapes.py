"""Endpoints with a transform: what it makes is sent, and a failure ends the delivery where its owner sees it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from app.core import outcomes
from app.core.model.delivery import Delivery
from app.core.model.http_exchange import HttpRequest
from app.core.topics.names import TopicName
from app.profiles.requests import RequestBuilder
from tests.roles.dispatch.dispatch_stage import Stage, delayed, rung, url_of


async def test_what_a_transform_makes_is_sent(stage: Stage) -> None:
    stage.endpoint("a", envelope="raw", transform="{text: join(': ', [type, to_string(data.n)])}")
    await stage.start()
    stage.put("a")
    (attempt,) = await stage.attempts(1)
    assert attempt["result"] == "ok"
    (request,) = stage.sender.to(url_of("a"))
    assert json.loads(request.body) == {"text": "a.b: 1"}


@pytest.mark.parametrize("fields", [{}, {"arrival": 3, "ordering_key": "k"}])
async def test_a_transform_that_fails_ends_the_delivery_as_not_sent(stage: Stage, fields: dict[str, Any]) -> None:
    stage.endpoint("a", transform="abs(data.n)")
    stage.endpoint("b")
    await stage.start()
    stage.put("a", "e1", body=b'{"type":"a.b","data":{"n":"planted"}}', **fields)
    stage.put("b", "e2")
    stage.put("a", "e3")
    attempts = {each["event_id"]: each for each in await stage.attempts(3)}
    failed = attempts["e1"]
    assert (failed["state"], failed["result"], failed["reason"]) == ("dead", "not_sent", "transform_failed")
    assert failed["error"] == (
        "the endpoint's transform has no result for this event: abs() takes number, and the event has string there"
    )
    assert failed["attempt"] == 0, "there was no request"
    assert (attempts["e2"]["result"], attempts["e3"]["result"]) == ("ok", "ok")
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("reason"), dead.header("last-result")) == ("transform_failed", "not_sent")
    assert dead.value == b'{"type":"a.b","data":{"n":"planted"}}', "a retry sends it, once the transform is repaired"
    assert stage.events("a") == ["e3"]
    signals = [msgspec.json.decode(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    assert [each["outcome"] for each in signals if each["delivery_id"] == "dlv_e1"] == ["unsent"], "none of its health"
    assert outcomes.outcome_of("transform_failed") is not None


async def test_a_repaired_transform_applies_to_the_next_attempt(stage: Stage) -> None:
    stage.endpoint("a", transform="data.nothing")
    await stage.start()
    stage.put("a")
    await stage.attempts(1)
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    stage.endpoint("a", transform="data.n", envelope="raw")
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=dead.value, headers=dead.headers, partition=0)
    await stage.attempts(2)
    (request,) = stage.sender.to(url_of("a"))
    assert request.body == b"1"


async def test_costly_transforms_wait_for_their_tenants_share_and_hold_up_nobody_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = RequestBuilder.request

    def slow(self: RequestBuilder, delivery: Delivery, *others: Any) -> HttpRequest:
        if delivery.endpoint_id == "a":
            stage.clock._us += 50_000
        return built(self, delivery, *others)

    monkeypatch.setattr(RequestBuilder, "request", slow)
    stage.endpoint("a", transform="data", max_in_flight=1)
    stage.endpoint("b")
    await stage.start()
    for number in range(40):
        stage.put("a", f"a{number}")
    waiting = await stage.log.seen(rung("1s"), 1)
    stage.put("b", "b1")
    await stage.log.seen(TopicName.ATTEMPTS, len(stage.events("a")) + 1)
    assert stage.events("b") == ["b1"]
    assert 20 <= len(stage.events("a")) < 40, "one second at once"
    assert delayed(waiting[0]).attempts == 0 and delayed(waiting[0]).waiting_since_ms > 0
    assert 'deliveries_deferred_total{reason="transforms"}' in stage.meter.exposition().decode()
