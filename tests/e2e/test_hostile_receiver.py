"""A receiver floods its answers, another frames them badly: the service goes on, and a 2xx is a success."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import RealBroker
from tests.e2e.harness import inbox, producer, read, service

EVENTS = 20


async def test_no_response_of_a_receiver_stops_a_role(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path) as running,
        inbox() as (good, base),
        inbox("flood") as (flood, flooding),
        inbox("sloppy") as (sloppy, careless),
        producer(broker.bootstrap) as kafka,
    ):
        for url in (base, flooding, careless):
            await running.add(f"{url}/standard", schedule="0,1")
        for number in range(EVENTS):
            event = {"type": "a.b", "id": f"evt_{number}", "data": {}}
            await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode())
        await good.until(lambda: len(good.received) >= EVENTS)
        await sloppy.until(lambda: len(sloppy.received) >= EVENTS)
        await flood.until(lambda: len(flood.received) >= 2 * EVENTS)
        attempts = [
            json.loads(record.value)
            for record in await read(broker.bootstrap, f"{prefix}attempts", lambda some: len(some) >= 4 * EVENTS)
        ]
        assert "role_restarts_total{" not in await running.metrics()
    assert [len(box.received) for box in (good, sloppy, flood)] == [EVENTS, EVENTS, 2 * EVENTS]
    flooded = [each for each in attempts if each.get("status") == 500]
    assert len(flooded) == 2 * EVENTS
    assert {tuple(each["cut"]) for each in flooded} == {("headers",)}
    careless_ones = [each for each in attempts if each.get("status") == 204]
    assert [each["state"] for each in careless_ones] == ["delivered"] * EVENTS
    assert all("More bytes" in each["remarks"][0] for each in careless_ones)
