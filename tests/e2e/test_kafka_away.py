"""Kafka goes and comes back: the process says so at once, once, and shows no number that it cannot know."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer
from tests.patience import LOOKS

#: how our own lines are named; a library's are sentences
_OURS = re.compile(r"[a-z_]+(\.[a-z_]+)+")


async def until(running: Service, condition: Callable[[int, dict[str, str], str], bool]) -> None:
    """Look at /readyz and /metrics until (status, roles, metrics) satisfy the condition."""
    for _ in range(LOOKS):
        status, roles = await running.readiness()
        metrics = await running.metrics()
        if condition(status, roles, metrics):
            return
        await pause(0.1)
    raise AssertionError(f"{status} {roles}\n{metrics}")


def shows_lag(metrics: str) -> bool:
    return "hookstream_consumer_lag_records{" in metrics or "hookstream_retry_backlog{" in metrics


def is_up(status: int, _: dict[str, str], metrics: str) -> bool:
    return status == 200 and shows_lag(metrics) and "hookstream_kafka_up 1.0" in metrics


def is_down(status: int, roles: dict[str, str], metrics: str) -> bool:
    says_so = "does not answer" in roles["kafka"] and "hookstream_kafka_up 0.0" in metrics
    return status == 503 and says_so and not shows_lag(metrics)


async def test_an_outage_is_logged_once_and_lag_metrics_disappear(
    own_broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    running = Service(own_broker.bootstrap, prefix, tmp_path, {"HOOKSTREAM_LOG_LEVEL": "info"})
    await running.cli("topics", "apply")
    output = tmp_path / "service.log"
    with output.open("wb") as lines:
        running.output = lines
        await running.start()
        async with inbox() as (box, base), producer(own_broker.bootstrap) as kafka:
            await running.add(f"{base}/standard/x")
            event = json.dumps({"type": "a.b", "data": {}}).encode()
            await kafka.send_and_wait(f"{prefix}events.raw", event)
            await box.until(lambda: len(box.received) == 1)
            await until(running, is_up)
            own_broker.kill()
            await until(running, is_down)
            await pause(20)  # the libraries get the time to complain
            await own_broker.restart()
            await until(running, is_up)
            await kafka.send_and_wait(f"{prefix}events.raw", event)
            await box.until(lambda: len(box.received) == 2)
        assert await running.stop() == 0
    told: list[dict[str, Any]] = [json.loads(line) for line in output.read_bytes().splitlines()]
    changes = [(each["event"], each["dependency"]) for each in told if each["event"].startswith("dependency.")]
    assert [each for each in changes if each[1] == "kafka"] == [
        ("dependency.down", "kafka"),
        ("dependency.up", "kafka"),
    ]
    noise = [each["event"] for each in told if not _OURS.fullmatch(each["event"])]
    assert noise == []
    repeated = [each for each in told if each["event"] == "log.append_failed"]
    assert len(repeated) <= 3, repeated
