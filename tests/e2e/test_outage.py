"""The broker is killed and comes back in the middle of a run: the service goes on by itself and loses nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.conftest import RealBroker
from tests.e2e.harness import inbox, pause, producer, service

EVENTS = 3000


async def test_broker_kill_9_and_back(own_broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    settings = {"HOOKSTREAM_TIME_SCALE": "0.01"}
    async with (
        service(own_broker.bootstrap, prefix, tmp_path, settings) as running,
        inbox("status:500*50,200") as (box, base),
        producer(own_broker.bootstrap) as kafka,
    ):
        await running.add(f"{base}/standard/one", schedule="0,30,30,30,60,60,60,60,60")

        async def append(first: int, last: int) -> None:
            for number in range(first, last):
                event = {"type": "a.b", "id": f"evt_{number}", "data": {"n": number}}
                await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=b"k%d" % (number % 50))

        appending = asyncio.create_task(append(0, EVENTS // 2))
        await box.until(lambda: len(box.received) > 300)
        own_broker.kill()
        await pause(3)
        await own_broker.restart()
        await appending
        await append(EVENTS // 2, EVENTS)
        wanted = {f"evt_{number}" for number in range(EVENTS)}
        await box.until(
            lambda: (
                len(box.received) >= EVENTS and {each.event_id for each in box.received if each.status == 200} >= wanted
            )
        )
        assert running.alive
