"""Channels from a producer's record, the API and a CloudEvent to the receivers, and in replays and an event's story."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from aiokafka import AIOKafkaProducer

from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer
from tests.e2e.replay_party import Party, again, party_of
from tests.patience import PATIENCE_S


@pytest_asyncio.fixture
async def kafka(broker: RealBroker) -> AsyncIterator[AIOKafkaProducer]:
    async with producer(broker.bootstrap) as client:
        yield client


@pytest_asyncio.fixture
async def acme(shared: Service, kafka: AIOKafkaProducer) -> Party:
    return await party_of(shared, kafka)


async def test_endpoints_receive_the_events_of_their_channels(acme: Party, kafka: AIOKafkaProducer) -> None:
    async with inbox() as (every, every_url), inbox() as (eu, eu_url), inbox() as (us, us_url):
        await acme.endpoint(f"{every_url}/standard")
        first = await acme.endpoint(f"{eu_url}/standard", channels=["eu", "asia"])
        second = await acme.endpoint(f"{us_url}/standard", channels=["us"])
        posted = {"type": "a.b", "id": "posted", "data": 1, "channels": ["eu", "x"]}
        answer = await acme.service.ask("POST", "/v1/events", posted, key=acme.live)
        assert answer.status == 202, answer
        await acme.append(["native"], channels=["us", "eu"])
        cloud = b'{"specversion":"1.0","id":"cloud","source":"/s","type":"a.b","tenant":"%b","channels":"us"}'
        topic = f"{acme.service.prefix}events.raw"
        await kafka.send_and_wait(topic, cloud % acme.name.encode(), key=acme.name.encode())
        await kafka.send_and_wait(
            topic,
            b'{"type":"a.b","id":"header","data":1,"tenant":"%b","channels":["us"]}' % acme.name.encode(),
            key=acme.name.encode(),
            headers=[("channels", b"asia, moon")],
        )
        await acme.append(["none"])
        await every.until(lambda: len(every.received) == 5)
        await eu.until(lambda: len(eu.received) == 3)
        await us.until(lambda: len(us.received) == 2)
        assert set(eu.ids()) == {"posted", "native", "header"} and set(us.ids()) == {"native", "cloud"}

        why = await story(acme, "posted")
        assert why[second]["why"] == "other_channels" and "channels: us." in why[second]["explanation"]
        assert why[first]["why"] == "matched"

        counted = (await acme.replay(dry_run=True))["counted"]
        assert counted["endpoints"] == {first: 3, second: 2} | {
            each: 5 for each in counted["endpoints"] if each not in (first, second)
        }
        assert (await acme.run(endpoint=first))["sent"] == 3
        await eu.until(lambda: len(again(eu)) == 3)
        assert Counter(eu.ids()) == {"posted": 2, "native": 2, "header": 2}
        assert not again(us)

        refused = await acme.service.ask("POST", "/v1/events", posted | {"channels": ["a b"]}, key=acme.live)
        assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/channels/0")
        cleared = await acme.service.ask("PATCH", f"/v1/webhooks/{second}", {"channels": None}, key=acme.live)
        assert cleared.body["channels"] is None
        await acme.append(["later"])
        await us.until(lambda: "later" in us.ids())


async def story(acme: Party, event: str) -> dict[str, Any]:
    """What the API says of an event for each endpoint, once the index has the event and its deliveries."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await acme.service.ask("GET", f"/v1/events/{event}", key=acme.live)
            if answer.status == 200 and answer.body["outcome"] == "matched" and answer.body["data"] is not None:
                assert answer.body["channels"] == ["eu", "x"]
                shown = {each["endpoint"]: each for each in answer.body["endpoints"]}
                if all(each["why"] != "pending" for each in shown.values()):
                    return shown
            await pause(0.05)  # the read model follows; the API has no other way
