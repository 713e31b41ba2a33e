"""100,000 endpoints in the registry: how soon a process is ready, what it weighs, and how long a create takes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import quantiles

import aiohttp
import msgspec

from app.adapters.kafka.producer import KafkaProducer
from app.core.model.endpoint import Endpoint
from app.core.records.registry import encode
from app.core.topics.names import TopicName
from tests.bench.stage import Stage
from tests.e2e.harness import Service
from tests.kafka import clients_at

ENDPOINTS = 100_000
_CREATES = 200


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    endpoints: int
    ready_s: float
    rss_mib: float
    create_p50_ms: float
    create_p99_ms: float


async def measure(stage: Stage) -> Report:
    """Write the registry, start a process with all roles, and create more endpoints through its API."""
    stage.pin_others(apart=False)
    running = Service(stage.bootstrap, f"r{os.getpid()}.", Path(stage.folder()), {"HOOKSTREAM_LOG_LEVEL": "error"})
    await running.cli("topics", "apply")
    await _fill(running)
    begun = time.perf_counter()
    await running.start()
    ready_s = time.perf_counter() - begun
    try:
        key = await running.key("acme")
        times = await _create(running, key)
        rss = _rss_mib(running.pid)
    finally:
        await running.stop()
    cuts = quantiles(times, n=100)
    return Report(
        endpoints=ENDPOINTS, ready_s=ready_s, rss_mib=rss, create_p50_ms=cuts[49] * 1000, create_p99_ms=cuts[98] * 1000
    )


async def _fill(running: Service) -> None:
    log = KafkaProducer(clients_at(running.bootstrap), client_id="bench")
    registry = running.prefix + TopicName.REGISTRY
    await log.start([registry])
    for number in range(ENDPOINTS):
        endpoint = Endpoint(
            id=f"ep_{number:024x}",
            tenant=f"t{number % 5000}",
            mode="live",
            profile="standard",
            url=f"https://customer{number}.example/hooks",
            events=("recording.*", "summary.completed"),
            description="an endpoint like any other",
            created_at_ms=number,
            updated_at_ms=number,
        )
        await log.append(registry, key=f"endpoint/{endpoint.id}".encode(), value=encode(endpoint), partition=0)
    await log.close(60)


async def _create(running: Service, key: str) -> list[float]:
    times = []
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for number in range(_CREATES):
            body = {"url": f"https://x.example/{number}", "events": "*"}
            begun = time.perf_counter()
            async with http.post(f"{running.api_url}/v1/webhooks", json=body) as answer:
                assert answer.status == 201, await answer.text()
            times.append(time.perf_counter() - begun)
    return times


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0
