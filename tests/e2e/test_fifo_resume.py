"""Order over a resume: what arrives meanwhile overtakes nothing, whoever is killed, and whatever is changed."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer, read, service

KEYS = 20
REST = ("fanout", "dispatch", "delay", "registry", "api")


class Traffic:
    """Events over all keys, some hundred a second, until it is told to stop."""

    def __init__(self, kafka: AIOKafkaProducer, prefix: str, per_second: int = 300) -> None:
        self._kafka = kafka
        self._topic = f"{prefix}events.raw"
        self._every_s = 1 / per_second
        self.appended = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            key = f"k{self.appended % KEYS}"
            event = {"type": "a.b", "id": f"evt_{self.appended}", "data": {}, "ordering_key": key}
            await self._kafka.send(self._topic, json.dumps(event).encode(), key=key.encode())
            self.appended += 1
            await pause(self._every_s)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._kafka.flush()


@asynccontextmanager
async def split(broker: RealBroker, prefix: str, folder: Path) -> AsyncIterator[tuple[Service, Service, Service]]:
    """The service as three processes: what is not killed here, the sequencer, the worker of replays."""
    async with (
        service(broker.bootstrap, prefix, folder / "rest", roles=REST) as rest,
        service(broker.bootstrap, prefix, folder / "sequencer", roles=("sequencer",)) as sequencer,
        service(broker.bootstrap, prefix, folder / "replay", roles=("replay",)) as replay,
    ):
        yield rest, sequencer, replay


async def ordered(running: Service, url: str, **more: Any) -> tuple[str, str]:
    """An endpoint, and the key of its tenant."""
    key = await running.key("default")
    body = {"url": url, "events": "*", "ordering": "fifo", **more}
    made = await running.ask("POST", "/v1/webhooks", body, key=key)
    assert made.status == 201, made
    return str(made.body["id"]), key


async def act(running: Service, key: str, endpoint: str, action: str) -> None:
    answer = await running.ask("POST", f"/v1/webhooks/{endpoint}/{action}", key=key)
    assert answer.status == 200, answer


async def resumed(running: Service, number: int) -> None:
    """Wait until so many resumes are done."""

    def there(records: list[Any]) -> bool:
        said = [json.loads(each.value) for each in records if each.key.startswith(b"replay/") and each.value]
        return len({each["id"] for each in said if each.get("state") == "done"}) >= number

    await read(running.bootstrap, f"{running.prefix}registry", there)


async def more(box: Inbox, number: int) -> None:
    """Wait until it has got so many more."""
    wanted = len(box.received) + number
    await box.until(lambda: len(box.received) >= wanted)


def first_sights(box: Inbox) -> dict[str, list[int]]:
    """The sequences of each key, as the receiver has seen them first."""
    found: dict[str, dict[int, None]] = defaultdict(dict)
    for each in box.received:
        found[each.headers["webhook-ordering-key"]].setdefault(int(each.headers["webhook-sequence"]))
    return {key: list(sequences) for key, sequences in found.items()}


def disorder(box: Inbox, events: int) -> list[str]:
    """The keys that are not in sequence from 1 on, and complete."""
    seen = first_sights(box)
    wrong = []
    for number in range(KEYS):
        key = f"k{number}"
        wanted = list(range(1, len(range(number, events, KEYS)) + 1))
        if seen.get(key, []) != wanted:
            at = next((n for n, (a, b) in enumerate(zip(seen.get(key, []), wanted, strict=False)) if a != b), -1)
            wrong.append(
                f"{key}: {len(seen.get(key, []))} of {len(wanted)}, from {at}: {seen.get(key, [])[at : at + 8]}"
            )
    return wrong


async def test_nothing_overtakes_a_resume_under_traffic(
    broker: RealBroker, prefix: str, tmp_path: Path, capsys: Any
) -> None:
    async with (
        split(broker, prefix, tmp_path) as (rest, sequencer, replay),
        inbox() as (box, base),
        producer(broker.bootstrap) as kafka,
    ):
        endpoint, key = await ordered(rest, f"{base}/standard/a")
        traffic = Traffic(kafka, prefix)
        for turn, victim in enumerate((None, replay, sequencer)):
            await more(box, 200)
            await act(rest, key, endpoint, "pause")
            await pause(1.5)
            await act(rest, key, endpoint, "resume")
            if victim is not None:
                await more(box, 100)
                victim.kill()
                await victim.ended()
                await victim.start()
            await resumed(rest, turn + 1)
        await traffic.stop()
        await box.until(lambda: len(set(box.ids())) >= traffic.appended, deadline_s=60)
        with capsys.disabled():
            print(f"\n3 resumes under traffic, 2 kills: {traffic.appended} events, {len(box.received)} requests")
        assert disorder(box, traffic.appended) == []
