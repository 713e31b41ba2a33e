"""A service in three processes on a Kafka of its own, with customers, receivers, load, and a Prometheus beside it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from aiokafka.errors import KafkaError

from app.adapters.clock import SystemClock
from app.embedded.broker.broker import EmbeddedBroker
from app.embedded.receiver.receiver import DemoReceiver
from tests.conftest import JAR_CACHE
from tests.e2e.harness import Service, producer
from tests.patience import PATIENCE_S
from tests.ports import free_port

#: the processes: instance label and roles
PROCESSES = {
    "fanout": ("fanout",),
    "dispatch": ("dispatch", "delay", "sequencer"),
    "api": ("registry", "health", "notifier", "replay", "projection", "api"),
}
TENANT, FLOODER = "acme", "globex"
ENDPOINTS = 20
SCRAPE_S = 15
_EVERY_S = 1.0


@asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[str]:
    """A Prometheus that scrapes these addresses by instance and stores into `folder`; its URL."""
    program = shutil.which("prometheus")
    assert program, "prometheus is missing: make setup"
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_S}s"},
        "scrape_configs": [
            {
                "job_name": "hookstream",
                "static_configs": [
                    {"targets": [address], "labels": {"instance": name}} for name, address in targets.items()
                ],
            }
        ],
    }
    file = folder / "prometheus.yml"  # JSON is YAML, too
    file.write_text(json.dumps(configuration), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield await _listening(f"http://{address}")
    finally:
        process.terminate()
        await process.wait()


async def _listening(url: str) -> str:
    async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as http:
        while True:
            with suppress(aiohttp.ClientError):
                async with http.get(f"{url}/-/ready") as answer:
                    if answer.status == 200:
                        return url
            await asyncio.sleep(0.1)


class Receiver:
    """A demo receiver on a fixed port that can be unreachable for a while."""

    def __init__(self) -> None:
        self._demo = DemoReceiver(clock=SystemClock(), port=free_port())
        self.url = ""

    async def start(self) -> None:
        """Listen."""
        self.url = await self._demo.start()

    async def stop(self) -> None:
        """Refuse connections."""
        await self._demo.stop()


class Installation:
    """Everything, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = EmbeddedBroker(data_dir=folder / "broker", cache_dir=JAR_CACHE, port=free_port())
        self.processes: dict[str, Service] = {}
        self.many, self.one, self.slow = Receiver(), Receiver(), Receiver()
        self.prometheus_url = ""
        self.bootstrap = ""
        self._key = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._parts = AsyncExitStack()
        self._output = (folder / "service.log").open("ab")

    async def start(self) -> None:
        """Start all processes, register the customers, and begin the load."""
        self.bootstrap = await self.broker.start()
        for name, roles in PROCESSES.items():
            settings = {"HOOKSTREAM_SESSION_TIMEOUT": "10", "HOOKSTREAM_METRICS_TOP_ENDPOINTS": str(ENDPOINTS)}
            service = Service(self.bootstrap, "", self.folder / name, settings, roles)
            service.output = self._output
            self.processes[name] = service
        await self.api.cli("topics", "apply", "-o", "json")
        for service in self.processes.values():
            await service.start()
        for receiver in (self.many, self.one, self.slow):
            await receiver.start()
        self._key = await self.api.key(TENANT)
        for number in range(ENDPOINTS):
            receiver = self.one if number == 0 else self.many
            await self._add(self._key, f"{receiver.url}/standard/{number}")
        targets = {name: each.probe_url.removeprefix("http://") for name, each in self.processes.items()}
        self.prometheus_url = await self._parts.enter_async_context(prometheus(self.folder, targets))
        self._tasks.append(asyncio.create_task(self._append_events()))

    async def stop(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._parts.aclose()
        for service in self.processes.values():
            if service.alive:
                await service.stop()
        for receiver in (self.many, self.one, self.slow):
            await receiver.stop()
        await self.broker.stop()
        self._output.close()

    @property
    def api(self) -> Service:
        """The process with the management API."""
        return self.processes["api"]

    async def flood(self, per_second: int) -> None:
        """Append more events of one tenant than its endpoint takes, until cancelled."""
        key = await self.api.key(FLOODER)
        await self._add(key, f"{self.slow.url}/standard/flood?fault=delay:0.5", max_in_flight=4)
        event = json.dumps({"type": "order.paid", "data": {}, "tenant": FLOODER}).encode()
        async with producer(self.bootstrap) as client:
            while True:
                for _ in range(per_second):
                    await client.send("events.raw", event)
                await asyncio.sleep(1.0)

    async def until_quiet(self) -> None:
        """Wait until Prometheus sees every check pass, no circuit open and no lag."""
        lag = "sum(hookstream_consumer_lag_seconds > 2) or vector(0)"
        query = f"sum(hookstream_circuits_open) + sum(1 - hookstream_ready) + ({lag})"
        async with asyncio.timeout(600):
            while await self.value(query) != 0:
                await asyncio.sleep(SCRAPE_S / 3)

    async def value(self, query: str) -> float | None:
        """The result of a query with one sample; None: it has none."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{self.prometheus_url}/api/v1/query", params={"query": query}) as answer,
        ):
            result = (await answer.json())["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    async def _add(self, key: str, url: str, **fields: object) -> None:
        answer = await self.api.ask("POST", "/v1/webhooks", {"url": url, "events": ["*"], **fields}, key=key)
        assert answer.status == 201, answer

    async def _append_events(self) -> None:
        while True:
            with suppress(aiohttp.ClientError, KafkaError, TimeoutError, OSError):
                await self.api.ask("POST", "/v1/events", {"type": "order.paid", "data": {"total": 1}}, key=self._key)
            await asyncio.sleep(_EVERY_S)
