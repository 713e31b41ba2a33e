"""The service as its users meet it: a process on a real Kafka, driven by its commands, topics and HTTP alone."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from app.adapters.clock import SystemClock
from app.embedded.receiver.faults import FaultScript
from app.embedded.receiver.receiver import DemoReceiver, Received
from tests.patience import PATIENCE_S
from tests.ports import free_port

#: whose pages may show the portal in a frame
PORTAL_ORIGIN = "http://localhost:9"
ADMIN_TOKEN = "op_0123456789abcdef0123456789"
HOOKSTREAM = str(Path(sys.executable).parent / "hookstream")


#: every process that was started and not seen to end: a test that fails leaves none behind
_running: set[int] = set()


@atexit.register
def _end_what_is_left() -> None:
    for pid in _running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Answer(NamedTuple):
    """What the API has answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Service:
    """`hookstream run all`, with a topic prefix and a data folder of its own."""

    def __init__(
        self,
        bootstrap: str,
        prefix: str,
        data_dir: Path,
        settings: Mapping[str, str] | None = None,
        roles: Sequence[str] = ("all",),
    ) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.data_dir = data_dir
        self.roles = roles
        #: what runs roles: the command, or a program of a test's own
        self.command: Sequence[str] = (HOOKSTREAM,)
        #: where what it prints goes; None: to the test's own
        self.output: IO[bytes] | None = None
        self._port = free_port()
        self._api_port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[2]),  # the code beside these tests, wherever they run
            "HOOKSTREAM_BOOTSTRAP_SERVERS": bootstrap,
            "HOOKSTREAM_TOPIC_PREFIX": prefix,
            "HOOKSTREAM_DATA_DIR": str(data_dir),
            "HOOKSTREAM_REPLICATION_FACTOR": "1",
            "HOOKSTREAM_PARTITIONS": "4",
            "HOOKSTREAM_METRICS_PORT": str(self._port),
            "HOOKSTREAM_API_PORT": str(self._api_port),
            "HOOKSTREAM_ADMIN_TOKEN": ADMIN_TOKEN,
            "HOOKSTREAM_PORTAL_ORIGINS": PORTAL_ORIGIN,
            "HOOKSTREAM_ALLOW_HTTP": "true",
            "HOOKSTREAM_EGRESS_ALLOW": "127.0.0.0/8",
            "HOOKSTREAM_SECRET_KEYS": "t1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "HOOKSTREAM_LOG_LEVEL": "warning",
            "HOOKSTREAM_SESSION_TIMEOUT": "6",
            "HOOKSTREAM_STOP_SECONDS": "3",
            **(settings or {}),
        }

    async def cli(self, *arguments: str, expect: int = 0, stdin: bytes | None = None) -> Any:
        """Run a command; its standard output, as JSON where it is JSON."""
        process = await asyncio.create_subprocess_exec(
            HOOKSTREAM,
            *arguments,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin), PATIENCE_S)
        except TimeoutError:
            process.kill()
            raise
        assert process.returncode == expect, f"exit code {process.returncode}\n{out.decode()}\n{err.decode()}"
        text = out.decode() if expect == 0 else err.decode()
        try:
            return json.loads(text)
        except ValueError:
            return text

    async def add(self, url: str, **options: str) -> dict[str, Any]:
        """`hookstream endpoints add`, after `tenants add` where the tenant is new."""
        tenant = options.get("tenant")
        if tenant and tenant not in {each["id"] for each in await self.cli("tenants", "list", "-o", "json")}:
            await self.cli("tenants", "add", tenant)
        given = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        added: dict[str, Any] = await self.cli("endpoints", "add", url, *given, "-o", "json")
        return added

    async def start(self) -> None:
        """Start all roles and wait until they are ready."""
        await self.spawn()
        await self.until_ready()

    async def spawn(self) -> None:
        """Start the process."""
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            "run",
            *self.roles,
            env=self.environ,
            start_new_session=True,
            stdout=self.output,
            stderr=self.output,
        )
        _running.add(self._process.pid)

    async def until_ready(self, deadline_s: float = PATIENCE_S) -> None:
        """Poll /readyz: a foreign process leaves no other way."""
        async with asyncio.timeout(deadline_s), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{self._port}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                assert self._process is not None and self._process.returncode is None, "the service has ended"
                await pause(0.05)

    @property
    def api_url(self) -> str:
        """Where its management API is."""
        return f"http://127.0.0.1:{self._api_port}"

    async def ask(
        self, method: str, path: str, body: Any = None, *, key: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request to the API; `key` is empty for the operator's token."""
        sent = {"authorization": f"Bearer {key or ADMIN_TOKEN}", **(headers or {})}
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.api_url + path, json=body, headers=sent) as answer,
        ):
            text = await answer.text()
            return Answer(answer.status, json.loads(text) if text else None, answer.headers.copy())

    async def key(self, tenant: str, mode: str = "live", **more: Any) -> str:
        """A key of a tenant, which is registered where it is not there yet (`profile` is its profile)."""
        profile = more.pop("profile", "standard")
        made = await self.ask("POST", "/v1/tenants", {"id": tenant, "profile": profile})
        assert made.status in (201, 409), made
        answer = await self.ask("POST", f"/v1/tenants/{tenant}/keys", {"mode": mode, **more})
        assert answer.status == 201, answer
        return str(answer.body["key"])

    @property
    def probe_url(self) -> str:
        """Where its probes are."""
        return f"http://127.0.0.1:{self._port}"

    async def readiness(self) -> tuple[int, dict[str, str]]:
        """The status of /readyz, and what it says of each role."""
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self._port}/readyz") as answer:
            return answer.status, (await answer.json())["roles"]

    async def metrics(self) -> str:
        """What /metrics says."""
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
            return await answer.text()

    @property
    def pid(self) -> int:
        """The service's process."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)

    @property
    def alive(self) -> bool:
        """Whether the process that was started last still runs."""
        return self._process is not None and self._process.returncode is None

    async def ended(self) -> int:
        """Wait for its end."""
        assert self._process is not None
        code = await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        _running.discard(self._process.pid)
        return code

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self.ended()


@asynccontextmanager
async def service(
    bootstrap: str,
    prefix: str,
    data_dir: Path,
    settings: Mapping[str, str] | None = None,
    roles: Sequence[str] = ("all",),
) -> AsyncIterator[Service]:
    """A running service with its topics."""
    running = Service(bootstrap, prefix, data_dir, settings, roles)
    await running.cli("topics", "apply", "-o", "json")
    await running.start()
    try:
        yield running
    finally:
        if running.alive:
            assert await running.stop() == 0


class Inbox:
    """A receiver in the test's own process, with events instead of polling."""

    def __init__(self, faults: str | None = None) -> None:
        self.received: list[Received] = []
        self._changed = asyncio.Event()
        self.receiver = DemoReceiver(
            clock=SystemClock(), faults=FaultScript.parse(faults) if faults else None, on_request=self._take
        )

    def _take(self, received: Received) -> None:
        self.received.append(received)
        self._changed.set()

    async def until(self, condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
        """Wait until the condition holds; looked at after each request."""
        async with asyncio.timeout(deadline_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def ids(self, path: str | None = None) -> list[str]:
        """Event ids, one for each request (to a path)."""
        return [each.event_id or "" for each in self.received if path in (None, each.path)]


@asynccontextmanager
async def inbox(faults: str | None = None) -> AsyncIterator[tuple[Inbox, str]]:
    """A running inbox and its base URL."""
    box = Inbox(faults)
    base = await box.receiver.start()
    try:
        yield box, base
    finally:
        await box.receiver.stop()


@asynccontextmanager
async def producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that knows only Kafka; it waits for a broker that a test has killed."""
    client = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=round(PATIENCE_S * 1000))
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def read(
    bootstrap: str, topic: str, until: Callable[[list[Any]], bool], deadline_s: float = PATIENCE_S
) -> list[Any]:
    """The records of a topic from its beginning, as soon as they satisfy `until`."""
    client = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await client.start()
    records: list[Any] = []
    try:
        async with asyncio.timeout(deadline_s):
            while not until(records):
                for batch in (await client.getmany(timeout_ms=200)).values():
                    records += batch
    finally:
        await client.stop()
    return sorted(records, key=lambda record: record.timestamp)


async def pause(seconds: float) -> None:
    """Between two looks at a foreign process."""
    await SystemClock().sleep(seconds)
