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
from tests.patience import PATIENCE_S

KEYS = 20
#: events that may wait for their deliveries before more are appended
UNDER_WAY = 1000
REST = ("fanout", "dispatch", "delay", "registry", "api")


class Traffic:
    """Events over all keys, some hundred a second, until it is told to stop; fewer on a machine that is slower."""

    def __init__(self, kafka: AIOKafkaProducer, prefix: str, box: Inbox, per_second: int = 150) -> None:
        self._kafka = kafka
        self._topic = f"{prefix}events.raw"
        self._box = box
        self._every_s = 1 / per_second
        self.appended = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            while self.appended - len(self._box.received) > UNDER_WAY:  # a resume would never catch up with it
                await pause(self._every_s)
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


async def resumed(running: Service, number: int, deadline_s: float = PATIENCE_S) -> None:
    """Wait until so many resumes are done."""

    def there(records: list[Any]) -> bool:
        said = [json.loads(each.value) for each in records if each.key.startswith(b"replay/") and each.value]
        return len({each["id"] for each in said if each.get("state") == "done"}) >= number

    await read(running.bootstrap, f"{running.prefix}registry", there, deadline_s)


async def parked(running: Service, number: int) -> None:
    """Wait until so many deliveries wait for a resume."""

    def there(records: list[Any]) -> bool:
        return sum(("reason", b"paused") in record.headers for record in records) >= number

    await read(running.bootstrap, f"{running.prefix}deliveries.dead", there)


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
        traffic = Traffic(kafka, prefix, box)
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
        await box.until(lambda: len(set(box.ids())) >= traffic.appended)
        with capsys.disabled():
            print(f"\n3 resumes under traffic, 2 kills: {traffic.appended} events, {len(box.received)} requests")
        assert disorder(box, traffic.appended) == []


async def test_pauses_and_resumes_in_quick_succession_keep_the_order(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path) as running,
        inbox("status:500*30,200") as (box, base),
        producer(broker.bootstrap) as kafka,
    ):
        endpoint, key = await ordered(running, f"{base}/standard/a", schedule=[0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
        traffic = Traffic(kafka, prefix, box)
        for between_s in (0.0, 0.3, 0.1, 1.0, 2.5, 0.0, 0.5):
            await act(running, key, endpoint, "pause")
            await pause(between_s / 2)
            await act(running, key, endpoint, "resume")
            await pause(between_s)
        await traffic.stop()
        await resumed(running, 7)
        await box.until(lambda: len({e.event_id for e in box.received if e.status == 200}) >= traffic.appended)
        assert disorder(box, traffic.appended) == []
        numbers: dict[str, list[int]] = defaultdict(list)
        for each in box.received:
            numbers[each.event_id or ""].append(each.attempt or 0)
        assert all(made == sorted(made) for made in numbers.values()), "attempts go on where they were"
        assert max(max(made) for made in numbers.values()) > 1


async def test_a_cancelled_resume_holds_nothing_back(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path) as running,
        inbox() as (box, base),
        producer(broker.bootstrap) as kafka,
    ):
        endpoint, key = await ordered(running, f"{base}/standard/a", rate_limit=20)
        await act(running, key, endpoint, "pause")
        await events(kafka, prefix, 0, 3000)  # three times as many as a resume has under way at once
        await parked(running, 3000)  # what arrives after the resume would be no part of it
        await act(running, key, endpoint, "resume")
        await more(box, 10)
        listed = await running.ask("GET", "/v1/replays", key=key)
        (replay,) = listed.body["data"]
        cancelled = await running.ask("POST", f"/v1/replays/{replay['id']}/cancel", key=key)
        assert cancelled.status == 200, cancelled
        await events(kafka, prefix, 3000, 3040)
        await box.until(lambda: {f"evt_{number}" for number in range(3000, 3040)} <= set(box.ids()))
        assert all(sequences == sorted(sequences) for sequences in first_sights(box).values())
        assert len(set(box.ids())) < 3040, "what the resume has not brought stays where it is"


async def events(kafka: AIOKafkaProducer, prefix: str, first: int, last: int) -> None:
    """Append events over all keys."""
    for number in range(first, last):
        key = f"k{number % KEYS}"
        event = {"type": "a.b", "id": f"evt_{number}", "data": {}, "ordering_key": key}
        await kafka.send(f"{prefix}events.raw", json.dumps(event).encode(), key=key.encode())
    await kafka.flush()
