"""kill -9 of the whole service, several times, in the middle of thousands of events and failures: nothing is lost, and
every event keeps its number."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, producer

EVENTS = 5000
KILLS_AT = (500, 2000, 3500)


async def test_kill_9_loses_nothing(
    broker: RealBroker, prefix: str, tmp_path: Path, record_property: object, capsys: object
) -> None:
    settings = {"HOOKSTREAM_TIME_SCALE": "0.01"}
    running = Service(broker.bootstrap, prefix, tmp_path, settings)
    await running.cli("topics", "apply", "-o", "json")
    await running.start()
    # one endpoint fails for its first requests: retries are under way when the kills come
    async with inbox("status:500*200,200") as (box, base), producer(broker.bootstrap) as kafka:
        await running.add(f"{base}/standard/flaky", schedule="0,30,30,30,60,60,60,60,60")
        await running.add(f"{base}/standard/steady", schedule="0,30,30,30,60,60,60,60,60")
        wanted = {f"evt_{number}" for number in range(EVENTS)}
        acks = []
        for number in range(EVENTS):
            event = {"type": "a.b", "id": f"evt_{number}", "data": {"n": number}, "ordering_key": f"o{number % 50}"}
            acks.append(await kafka.send(f"{prefix}events.raw", json.dumps(event).encode(), key=b"k%d" % (number % 50)))
        for ack in acks:
            await ack
        for kill_at in KILLS_AT:
            await box.until(lambda at=kill_at: len(box.received) >= at)  # type: ignore[misc]
            running.kill()
            await running.ended()
            await running.start()

        def delivered(path: str) -> set[str]:
            return {each.event_id or "" for each in box.received if each.path == path and each.status == 200}

        def complete() -> bool:
            return len(box.received) >= 2 * EVENTS and all(
                delivered(path) >= wanted for path in ("/standard/flaky", "/standard/steady")
            )

        await box.until(complete)
        sent = Counter((each.path, each.event_id, each.attempt) for each in box.received)
        duplicates = sum(number - 1 for number in sent.values())
        assert await running.stop() == 0
    numbers: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for each in box.received:
        numbers[each.headers["webhook-ordering-key"], each.headers["webhook-sequence"]].add(each.event_id)
    assert all(len(events) == 1 for events in numbers.values()), "two events have one number"
    assert set(numbers) == {(f"o{key}", str(number)) for key in range(50) for number in range(1, EVENTS // 50 + 1)}
    with capsys.disabled():  # type: ignore[attr-defined]
        print(f"\n{len(KILLS_AT)} kills, {2 * EVENTS} deliveries: 0 lost, {duplicates} requests sent again")
    # At each kill at most 1,024 requests in flight and those finished in 0.1 s; and of fan-out, which dies with them,
    # what is under way, which is everything here, twice, since two endpoints match.
    assert duplicates <= 2 * EVENTS + len(KILLS_AT) * (1024 + 500)
