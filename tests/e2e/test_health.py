"""Health end to end: a failing endpoint is warned of, switched off, enabled again, and gets what it missed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer, read, service
from tests.e2e.upstream import until_caught_up
from tests.patience import LOOKS

FAST = {"HOOKSTREAM_TIME_SCALE": "0.001"}
PARTITIONS = 4


def holds(box: Inbox, wanted: int) -> bool:
    return len(box.received) >= wanted


async def append(running: Service, tenant: str, number: int) -> None:
    async with producer(running.bootstrap) as kafka:
        event = {"type": "upload.completed", "id": f"evt_{number}", "data": {"n": number}, "tenant": tenant}
        await kafka.send_and_wait(f"{running.prefix}events.raw", json.dumps(event).encode(), key=b"k")


async def until(running: Service, key: str, endpoint: str, **wanted: Any) -> dict[str, Any]:
    """The endpoint, as soon as these fields are so."""
    for _ in range(LOOKS):
        shown: dict[str, Any] = (await running.ask("GET", f"/v1/webhooks/{endpoint}", key=key)).body
        if all(shown[name] == value for name, value in wanted.items()):
            return shown
        await pause(0.05)
    raise AssertionError(shown)


async def notices(running: Service, number: int) -> list[dict[str, Any]]:
    found = await read(running.bootstrap, f"{running.prefix}notices", lambda records: len(records) >= number)
    return [json.loads(each.value) for each in found]


async def test_voxscriber_disables_after_five_failures_and_missed_events_can_be_recovered(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path, FAST) as running, inbox("status:500*5,ok") as (box, base):
        key = await running.key("vox", profile="voxscriber")
        body = {"url": f"{base}/voxscriber/a", "events": "*"}
        made = (await running.ask("POST", "/v1/webhooks", body, key=key)).body
        assert (made["disable_after_failures"], made["failing_since"]) == (5, None)
        await append(running, "vox", 1)
        shown = await until(running, key, made["id"], status="disabled")
        assert "5 times in a row" in shown["status_reason"] and shown["failing_since"]
        assert len(box.received) == 5
        kinds = [(each["kind"], each["data"].get("percent")) for each in await notices(running, 4)]
        assert kinds == [
            ("endpoint.failing", 50),
            ("endpoint.failing", 75),
            ("endpoint.disabled", None),
            ("delivery.dead", None),
        ]
        await append(running, "vox", 2)
        enabled = (await running.ask("POST", f"/v1/webhooks/{made['id']}/enable", key=key)).body
        assert (enabled["status"], enabled["failing_since"]) == ("active", None)
        assert enabled["recoverable"] is not None
        assert (await running.ask("POST", f"/v1/webhooks/{made['id']}/recover", key=key)).status == 202
        await box.until(lambda: "evt_2" in box.ids())
        await until(running, key, made["id"], status="active", failing_since=None)


async def test_a_410_disables_a_standard_endpoint_and_what_waits_for_it_is_cancelled(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path, FAST) as running, inbox("status:500,410") as (box, base):
        key = await running.key("acme")
        body = {"url": f"{base}/standard/a", "events": "*", "schedule": [0, 10_000, 0]}
        made = (await running.ask("POST", "/v1/webhooks", body, key=key)).body
        await append(running, "acme", 1)
        await box.until(lambda: len(box.received) == 1)
        await append(running, "acme", 2)
        shown = await until(running, key, made["id"], status="disabled")
        assert "410 Gone" in shown["status_reason"]
        ended = await read(
            broker.bootstrap,
            f"{prefix}attempts",
            lambda records: any(json.loads(each.value)["state"] == "cancelled" for each in records),
        )
        cancelled = [json.loads(each.value) for each in ended if b'"cancelled"' in each.value]
        assert [(each["event_id"], each["reason"]) for each in cancelled] == [("evt_1", "endpoint_disabled")]
        assert len(box.received) == 2


async def test_kill_9_of_health_loses_no_failure_and_counts_none_twice(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    rest = ("fanout", "dispatch", "delay", "registry", "api")
    async with (
        service(broker.bootstrap, prefix, tmp_path / "rest", FAST, rest) as running,
        inbox("status:500") as (box, base),
    ):
        health = Service(broker.bootstrap, prefix, tmp_path / "health", FAST, ("health",))
        key = await running.key("acme")
        made = []
        for limit in (40, 41):
            body = {
                "url": f"{base}/standard/{limit}",
                "events": "*",
                "schedule": [0] * 40,
                "disable_after_failures": limit,
            }
            made.append((await running.ask("POST", "/v1/webhooks", body, key=key)).body["id"])
        await append(running, "acme", 1)
        for wanted in (10, 50):
            await box.until(partial(holds, box, wanted))
            await health.start()
            await until(running, key, made[0])
            health.kill()
            await health.ended()
        await health.start()
        await box.until(lambda: len(box.received) == 80)
        await until(running, key, made[0], status="disabled")
        await until_caught_up(broker.bootstrap, f"{prefix}hookstream.health", f"{prefix}endpoints.signals", PARTITIONS)
        # The registry answers in the order of its commands: what health wrote before is part of the answer.
        other = (await running.ask("PATCH", f"/v1/webhooks/{made[1]}", {"description": "x"}, key=key)).body
        assert (other["status"], bool(other["failing_since"])) == ("active", True), "40 of 41"
        await append(running, "acme", 2)
        disabled = await until(running, key, made[1], status="disabled")
        assert "failed 41 times in a row" in disabled["status_reason"]
        assert await health.stop() == 0
