"""Retries keep to the schedule, are numbered, and end where the schedule ends."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.conftest import RealBroker
from tests.e2e.harness import inbox, producer, read, service

SCALE = 0.01
#: bota: 0, 1 m, 5 m, 30 m, 2 h, 8 h; cut here to what a test may wait for, at a hundredth of the time
SCHEDULE = "0,60,120"


async def append(bootstrap: str, prefix: str, event_id: str) -> None:
    async with producer(bootstrap) as kafka:
        event = {"type": "recording.created", "id": event_id, "data": {"n": 1}, "ordering_key": event_id}
        await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=b"k")


async def attempts(bootstrap: str, prefix: str, number: int) -> list[dict[str, Any]]:
    records = await read(bootstrap, f"{prefix}attempts", lambda found: len(found) >= number)
    return sorted((json.loads(record.value) for record in records), key=lambda each: int(each["attempt"]))


def planned_ms(attempt: dict[str, Any]) -> float:
    """From the end of an attempt to the time planned for the next one: the delay and up to 10 % jitter.

    The times are cut to whole milliseconds, and the duration is not: a millisecond may be missing.
    """
    started, following = (datetime.fromisoformat(attempt[name]) for name in ("started_at", "next_attempt_at"))
    return (following - started).total_seconds() * 1000 + 1 - float(attempt["duration_ms"])


async def test_500_500_200_is_three_numbered_attempts_at_the_schedules_distances(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    settings = {"HOOKSTREAM_TIME_SCALE": str(SCALE)}
    async with (
        service(broker.bootstrap, prefix, tmp_path, settings) as running,
        inbox("status:500*2,200") as (box, base),
    ):
        added = await running.add(f"{base}/bota", profile="bota", schedule=SCHEDULE)
        box.receiver.register("bota", "bota", added["secret"])
        await append(broker.bootstrap, prefix, "evt_retry")
        await box.until(lambda: len(box.received) == 3)
        assert [each.attempt for each in box.received] == [1, 2, 3]
        assert {each.event_id for each in box.received} == {"evt_retry"}
        names = ("webhook-sequence", "webhook-ordering-key")
        assert {tuple(each.headers[name] for name in names) for each in box.received} == {("1", "evt_retry")}
        assert all(each.verified for each in box.received)
        first, second = (after.at_ms - before.at_ms for before, after in pairwise(box.received))
        assert first >= 599 and second >= 1199, (first, second)
        records = await attempts(broker.bootstrap, prefix, 3)
    assert 600 <= planned_ms(records[0]) < 1200 <= planned_ms(records[1]) < 2400, "not the schedule's delay"
    assert [each["attempt"] for each in records] == [1, 2, 3]
    assert [each["state"] for each in records] == ["retrying", "retrying", "delivered"]
    assert [each["status"] for each in records] == [500, 500, 200]
    assert {each["event_id"] for each in records} == {"evt_retry"}
    assert len({each["delivery_id"] for each in records}) == 1


async def test_always_500_is_dead_after_exactly_the_schedules_attempts(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    settings = {"HOOKSTREAM_TIME_SCALE": "0.001"}
    async with (
        service(broker.bootstrap, prefix, tmp_path, settings) as running,
        inbox("status:500") as (box, base),
    ):
        await running.add(f"{base}/voxscriber", profile="voxscriber", schedule="0,1,2,3,4")
        await append(broker.bootstrap, prefix, "evt_dead")
        (dead,) = await read(broker.bootstrap, f"{prefix}deliveries.dead", lambda found: len(found) == 1)
        records = await attempts(broker.bootstrap, prefix, 5)
        assert len(box.received) == 5
    headers = {name: value.decode() for name, value in dead.headers}
    assert headers["reason"] == "exhausted" and headers["last-status"] == "500" and headers["attempts"] == "5"
    assert headers["event-id"] == "evt_dead"
    assert json.loads(dead.value)["id"] == "evt_dead"
    assert [each["attempt"] for each in records] == [1, 2, 3, 4, 5]
    assert records[-1]["state"] == "dead" and records[-1]["reason"] == "exhausted"


async def test_retry_after_pushes_the_next_attempt_later_and_is_not_scaled(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    settings = {"HOOKSTREAM_TIME_SCALE": "0.001"}
    async with (
        service(broker.bootstrap, prefix, tmp_path, settings) as running,
        inbox("retry-after:3,ok") as (box, base),
    ):
        await running.add(f"{base}/standard", schedule="0,1")
        await append(broker.bootstrap, prefix, "evt_429")
        await box.until(lambda: len(box.received) == 2)
        distance = box.received[1].at_ms - box.received[0].at_ms
        assert distance >= 3000, distance
        (record, *_) = await attempts(broker.bootstrap, prefix, 2)
    assert 3000 <= planned_ms(record) < 6000, "Retry-After was scaled"
