"""Events for later, and events that expire: from a producer, the API and a CloudEvent to the receivers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from aiokafka import AIOKafkaProducer

from app.core.model.timestamps import iso
from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer, read
from tests.e2e.replay_party import CLOCK, Party, again, party_of
from tests.patience import PATIENCE_S


@pytest_asyncio.fixture
async def kafka(broker: RealBroker) -> AsyncIterator[AIOKafkaProducer]:
    async with producer(broker.bootstrap) as client:
        yield client


@pytest_asyncio.fixture
async def acme(shared: Service, kafka: AIOKafkaProducer) -> Party:
    return await party_of(shared, kafka)


def at_ms(box: Inbox, event: str) -> int:
    (received,) = (each for each in box.received if each.event_id == event)
    return received.at_ms


async def test_events_are_delivered_at_their_time_and_not_before(acme: Party, kafka: AIOKafkaProducer) -> None:
    async with inbox() as (plain, plain_url), inbox() as (fifo, fifo_url):
        await acme.endpoint(f"{plain_url}/standard")
        ordered = await acme.endpoint(f"{fifo_url}/standard", ordering="fifo")
        due_ms = CLOCK.now_ms() + 8_000
        posted = {"type": "a.b", "id": "posted", "data": 1, "deliver_at": iso(due_ms)}
        answer = await acme.service.ask("POST", "/v1/events", posted, key=acme.live)
        assert answer.status == 202, answer
        cloud = {"specversion": "1.0", "id": "cloud", "source": "/s", "type": "a.b", "tenant": acme.name}
        topic, key = f"{acme.service.prefix}events.raw", acme.name.encode()
        await kafka.send_and_wait(topic, json.dumps(cloud | {"deliverat": iso(due_ms)}).encode(), key=key)
        await acme.append(["first"], deliver_at=iso(due_ms))
        await acme.append(["behind"])
        await acme.append(["past"], deliver_at="2020-01-01T00:00:00Z", ordering_key="other")

        await plain.until(lambda: len(plain.received) == 5)
        await fifo.until(lambda: len(fifo.received) == 5)
        for box in (plain, fifo):
            for name in ("posted", "cloud", "first"):
                assert at_ms(box, name) >= due_ms
        order = fifo.ids()
        assert order.index("first") < order.index("behind"), "a place in the order is taken at acceptance"
        assert (await shown(acme, ordered, "posted", "delivered"))["next_attempt_at"] is None

        for fields, pointer in (
            ({"deliver_at": iso(due_ms + 8 * 86_400_000)}, "/deliver_at"),
            ({"expires_at": iso(due_ms)}, "/expires_at"),
            ({"deliver_at": 5}, "/deliver_at"),
        ):
            refused = await acme.service.ask("POST", "/v1/events", posted | fields, key=acme.live)
            assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, pointer)


async def test_expired_events_end_as_dead_without_an_attempt(acme: Party) -> None:
    async with inbox() as (box, url), inbox("status:503") as (down, down_url):
        mine = await acme.endpoint(f"{url}/standard", ordering="fifo", events=["a.b"])
        failing = await acme.endpoint(f"{down_url}/standard", schedule=[0, 5], events=["a.b", "c.d"])
        now_ms = CLOCK.now_ms()
        await acme.append(["gone"], expires_at=iso(now_ms - 1000))
        await acme.append(["short"], type="c.d", expires_at=iso(now_ms + 4000), deliver_at=iso(now_ms + 2000))
        await acme.append(["next"])
        await box.until(lambda: "next" in box.ids())
        ended = await shown(acme, mine, "gone", "dead")
        assert (ended["reason"], ended["attempt_count"], ended["hint"]["what"]) == (
            "expired",
            0,
            "The event's `expires_at` has passed, or passes before the next attempt.",
        )
        assert "gone" not in box.ids(), "and it has not blocked its key"
        assert (await shown(acme, failing, "short", "dead"))["reason"] == "expired"
        dead = await read(
            acme.service.bootstrap,
            f"{acme.service.prefix}deliveries.dead",
            lambda records: len(reasons(records, failing)) >= 2,
        )
        assert reasons(dead, failing) == {b"gone": b"expired", b"short": b"expired"}
        assert "gone" not in down.ids()

        counted = (await acme.replay(dry_run=True, endpoint=mine))["counted"]
        assert counted["endpoints"] == {mine: 1}, "expired events are left out"
        await acme.run(endpoint=mine)
        await box.until(lambda: len(again(box)) == 1)
        assert again(box)[0].event_id == "next"

        answer = await acme.service.ask("POST", f"/v1/deliveries/{ended['id']}/retry", key=acme.live)
        assert answer.status == 202, answer
        await box.until(lambda: "gone" in box.ids())


async def test_a_scheduled_delivery_can_be_cancelled_or_sent_now(acme: Party) -> None:
    async with inbox() as (box, url):
        mine = await acme.endpoint(f"{url}/standard")
        due = iso(CLOCK.now_ms() + 86_400_000)
        await acme.append(["off", "now"], deliver_at=due)
        off, now = await shown(acme, mine, "off", "pending"), await shown(acme, mine, "now", "pending")
        assert off["next_attempt_at"] == due
        event = (await acme.service.ask("GET", "/v1/events/off", key=acme.live)).body
        assert (event["deliver_at"], event["expires_at"]) == (due, None)
        for each, action in ((off, "cancel"), (now, "retry")):
            answer = await acme.service.ask("POST", f"/v1/deliveries/{each['id']}/{action}", key=acme.live)
            assert answer.status == 202, answer
        await box.until(lambda: box.ids() == ["now"])
        assert (await shown(acme, mine, "off", "cancelled"))["next_attempt_at"] is None
        assert box.ids() == ["now"]


def reasons(records: list[Any], endpoint: str) -> dict[bytes, bytes]:
    """Event id → why its delivery to an endpoint is dead; without those of the endpoint's own failures."""
    mine = [dict(each.headers) for each in records if each.key == endpoint.encode()]
    return {each["event-id"]: each["reason"] for each in mine if each["reason"] != b"exhausted"}


async def shown(acme: Party, endpoint: str, event: str, state: str) -> dict[str, Any]:
    """An event's delivery to an endpoint, once it is in that state."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            query = f"/v1/deliveries?endpoint={endpoint}&event={event}"
            answer = await acme.service.ask("GET", query, key=acme.live)
            assert answer.status == 200, answer
            for each in answer.body["data"]:
                if each["state"] == state:
                    found: dict[str, Any] = each
                    return found
            await pause(0.05)  # the read model follows; the API has no other way
