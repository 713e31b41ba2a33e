"""Deliveries that cannot be signed, built or decoded stop no others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.model.delivery import Delivery
from app.core.model.http_exchange import HttpRequest
from app.core.topics.names import TopicName
from app.profiles.requests import RequestBuilder
from tests.roles.dispatch.dispatch_stage import KEYRING, TOPICS, ZERO, Stage, delayed, rung

UNUSABLE: dict[str, dict[str, Any]] = {
    "no key opens its secret": {"secrets": (KEYRING.seal("whsec_AAAA", "somebody/else", 0),)},
    "it has no secret": {"secrets": ()},
    "its scheme cannot use it": {"secrets": (KEYRING.seal("no base64!", "acme/a", 0),)},
    "its profile is unknown": {"profile": "of the future"},
}


@pytest.mark.parametrize("fields", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_delivery_that_cannot_be_signed_is_recorded_and_follows_its_schedule(
    stage: Stage, fields: dict[str, Any]
) -> None:
    stage.endpoint("a", schedule=(0, 5), **fields)
    stage.endpoint("b")
    await stage.start()
    stage.put("a")
    stage.put("b", "e2")
    (record,) = await stage.log.seen(rung("5s"), 1)
    assert delayed(record).attempts == 1
    stage.put_back(record)
    (dead,) = await stage.log.seen(TopicName.DELIVERIES_DEAD, 1)
    assert (dead.header("reason"), dead.header("last-result"), delayed(dead).attempts) == ("exhausted", "not_sent", 2)
    told = [each for each in await stage.attempts(3) if each["endpoint_id"] == "a"]
    assert [(each["attempt"], each["state"], each["result"]) for each in told] == [
        (1, "retrying", "not_sent"),
        (2, "dead", "not_sent"),
    ]
    assert all(each["error"].startswith("no request could be built: ") for each in told)
    assert stage.events("a") == [] and stage.events("b") == ["e2"]
    signals = [msgspec.json.decode(each.value or b"") for each in stage.log.of(TopicName.ENDPOINTS_SIGNALS)]
    assert [each["outcome"] for each in signals if each["delivery_id"] == "dlv_e1"] == ["unsent"], "none of its health"
    assert 'attempts_total{attempt="first",result="not_sent"} 1.0' in stage.meter.exposition().decode()


async def test_a_defect_in_building_a_request_stops_no_other_delivery(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.endpoint("a")
    stage.endpoint("b")
    build = RequestBuilder.request

    def broken(self: RequestBuilder, delivery: Delivery, *others: Any) -> HttpRequest:
        if delivery.endpoint_id == "a":
            raise ZeroDivisionError("ours")
        return build(self, delivery, *others)

    monkeypatch.setattr(RequestBuilder, "request", broken)
    await stage.start()
    stage.put("a")
    stage.put("b", "e2")
    told = {each["endpoint_id"]: each["result"] for each in await stage.attempts(2)}
    assert told == {"a": "not_sent", "b": "ok"}
    assert stage.running is not None and not stage.running.done()


@pytest.mark.parametrize("fields", [{}, {"arrival": 3, "ordering_key": "k"}])
async def test_a_delivery_whose_value_is_not_an_event_is_dead_and_its_key_queue_continues(
    stage: Stage, fields: dict[str, Any]
) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.put("a", "e1", **fields)
    record = stage.log.partitions[ZERO][0]
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=b"\xff{", headers=record.headers, partition=0)
    stage.put("a", "e3")
    attempts = await stage.attempts(3)
    assert sorted((each["state"], each.get("reason")) for each in attempts)[0] == ("dead", "unreadable")
    (dead,) = stage.log.of(TopicName.DELIVERIES_DEAD)
    assert (dead.value, dead.header("reason")) == (b"\xff{", "unreadable")
    await stage.log.seen(TopicName.DELIVERIES_ORDERED, 2 if fields.get("arrival") else 0)
    assert await stage.offset() == 3


async def test_a_record_that_is_not_a_delivery_is_skipped_and_counted(stage: Stage) -> None:
    stage.endpoint("a")
    await stage.start()
    stage.put("a", "e1", attempts=-100)
    stage.put("a", "e2", accepted_at_ms=10**400)
    stage.put("a", "e3", position=10**30)
    stage.put("a", "e4", body=b"")
    headers = stage.log.partitions[ZERO][3].headers
    stage.log.put(TopicName.DELIVERIES, key=b"a", value=bytes(TOPICS.max_record_bytes), headers=headers, partition=0)
    stage.put("a", "e6")
    attempts = await stage.attempts(2)
    assert [each["event_id"] for each in attempts] == ["e4", "e6"]
    assert await stage.offset() == 6
    assert b'records_unreadable_total{topic="deliveries"} 4.0' in stage.meter.exposition()
