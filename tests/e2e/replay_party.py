"""A tenant of the shared service that starts replays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from secrets import token_hex
from typing import Any

from aiokafka import AIOKafkaProducer

from app.adapters.clock import SystemClock
from tests.e2e.harness import Answer, Inbox, Service, pause, read
from tests.patience import PATIENCE_S

CLOCK = SystemClock()


class Party:
    """A tenant of the shared service, with its keys."""

    def __init__(self, service: Service, name: str, live: str, test: str, kafka: AIOKafkaProducer) -> None:
        self.service = service
        self.name = name
        self.live = live
        self.test = test
        self._kafka = kafka

    async def endpoint(self, url: str, **more: Any) -> str:
        body = {"url": url, "events": ["*"], **more}
        answer = await self.service.ask("POST", "/v1/webhooks", body, key=self.live)
        assert answer.status == 201, answer
        return str(answer.body["id"])

    async def act(self, endpoint: str, action: str) -> None:
        answer = await self.service.ask("POST", f"/v1/webhooks/{endpoint}/{action}", key=self.live)
        assert answer.status == 200, answer

    async def append(self, names: Iterable[str], **more: Any) -> None:
        acks = []
        for name in names:
            event = {"type": "a.b", "id": name, "data": {}, "tenant": self.name, "ordering_key": self.name, **more}
            value = json.dumps(event).encode()
            acks.append(await self._kafka.send(f"{self.service.prefix}events.raw", value, key=self.name.encode()))
        await asyncio.gather(*acks)

    async def attempted(self, endpoint: str, number: int) -> None:
        """Wait until so many attempts of an endpoint are recorded: a replay selects by these."""
        mine = endpoint.encode()
        topic = f"{self.service.prefix}attempts"
        await read(self.service.bootstrap, topic, lambda records: [each.key for each in records].count(mine) >= number)

    async def ask(self, key: str = "", **body: Any) -> Answer:
        sent = {("from" if name == "from_" else name): value for name, value in ({"from_": "begin"} | body).items()}
        return await self.service.ask("POST", "/v1/replays", sent, key=key or self.live)

    async def replay(self, **body: Any) -> dict[str, Any]:
        answer = await self.ask(**body)
        assert answer.status == 202, answer
        made: dict[str, Any] = answer.body
        return made

    async def do(self, replay: str, action: str) -> dict[str, Any]:
        answer = await self.service.ask("POST", f"/v1/replays/{replay}/{action}", key=self.live)
        assert answer.status == 200, answer
        done: dict[str, Any] = answer.body
        return done

    async def until(self, replay: str, *states: str) -> dict[str, Any]:
        """The replay, once it has one of these states."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found: dict[str, Any] = (await self.service.ask("GET", f"/v1/replays/{replay}", key=self.live)).body
                if found["state"] in states:
                    return found
                await pause(0.05)  # the API has no other way

    async def run(self, **body: Any) -> dict[str, Any]:
        """A replay from its beginning to its end."""
        return await self.until((await self.replay(**body))["id"], "done")


def names(count: int, prefix: str = "e") -> list[str]:
    return [f"{prefix}{number:04}" for number in range(count)]


async def party_of(service: Service, kafka: AIOKafkaProducer) -> Party:
    name = f"t{token_hex(3)}"
    return Party(service, name, await service.key(name), await service.key(name, "test"), kafka)


def again(box: Inbox) -> list[Any]:
    """What came in replays."""
    return [each for each in box.received if "webhook-replay" in each.headers]
