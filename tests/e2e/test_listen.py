"""`hookstream listen` on a real service: a developer's receiver verifies the events that the command forwards."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import standardwebhooks
from aiohttp import web

from tests.conftest import RealBroker
from tests.e2e.harness import HOOKSTREAM, Service, service
from tests.patience import PATIENCE_S
from tests.ports import free_port


class Arrival(NamedTuple):
    """One request as a receiver has it."""

    headers: dict[str, str]
    body: bytes


class Shop:
    """A receiver that a developer would write: it verifies with Standard Webhooks' own library."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._changed = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.arrivals.append(Arrival(dict(request.headers), await request.read()))
        self._changed.set()
        return web.Response(status=204)

    async def until(self, count: int) -> Arrival:
        """The last of so many requests."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.arrivals) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.arrivals[-1]


@asynccontextmanager
async def shop() -> AsyncIterator[tuple[Shop, str]]:
    receiver, port = Shop(), free_port()
    application = web.Application()
    application.router.add_post("/hooks", receiver.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield receiver, f"http://127.0.0.1:{port}/hooks"
    finally:
        await runner.cleanup()


class Listening:
    """A running `hookstream listen`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.secret = ""
        self.errors = ""

    async def until_error(self, wanted: Callable[[str], bool]) -> str:
        """The next line on standard error that is wanted."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self.process.stderr.readline()).decode():
                self.errors += line
                if wanted(line):
                    return line
        raise AssertionError(self.errors)

    async def line(self) -> dict[str, Any]:
        """The next line on standard output."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            text = await self.process.stdout.readline()
        assert text, self.errors
        parsed: dict[str, Any] = json.loads(text)
        return parsed


@asynccontextmanager
async def listening(running: Service, folder: Path, url: str, *words: str) -> AsyncIterator[Listening]:
    command = ("listen", "--forward-to", url, "--url", running.api_url, "--key-file", str(folder / "key"), "-o", "json")
    process = await asyncio.create_subprocess_exec(
        HOOKSTREAM,
        *command,
        *words,
        env=running.environ | {"XDG_CONFIG_HOME": str(folder / "config")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job's children ignore it
    )
    listener = Listening(process)
    try:
        line = await listener.until_error(lambda each: "Signing secret" in each)
        listener.secret = line.split()[-1]
        yield listener
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def send(running: Service, type_: str, id_: str) -> None:
    """One event, over Kafka."""
    event = {"type": type_, "id": id_, "data": {"n": 1.50, "ü": [None]}, "tenant": "dev"}
    await running.cli("events", "send", "-", stdin=json.dumps(event).encode())


async def test_events_are_forwarded_signed_filtered_again_on_request_and_after_a_restart(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path / "data", roles=("api", "registry")) as running,
        shop() as (receiver, url),
    ):
        (tmp_path / "key").write_text(await running.key("dev"))
        async with listening(running, tmp_path, url, "--type", "user.*", "--header", "X-Shop: dev") as listener:
            verifier = standardwebhooks.Webhook(listener.secret)
            await send(running, "order.paid", "e0")
            await send(running, "user.created", "e1")
            headers, body = await receiver.until(1)
            assert verifier.verify(body, headers)["data"] == {"n": 1.5, "ü": [None]}
            assert b'"n": 1.5' in body or b'"n":1.5' in body
            assert (headers["webhook-id"], headers["webhook-attempt"], headers["X-Shop"]) == ("e1", "1", "dev")
            first = await listener.line()
            assert (first["event"], first["status"], first["attempt"]) == ("e1", 204, 1)

            assert listener.process.stdin is not None
            listener.process.stdin.write(b"r\n")
            headers, body = await receiver.until(2)
            assert verifier.verify(body, headers) and headers["webhook-attempt"] == "2"
            assert (await listener.line())["attempt"] == 2

            assert await running.stop() == 0
            await listener.until_error(lambda each: "Connecting again" in each)
            await send(running, "user.deleted", "e2")  # while nobody listens
            await running.start()
            headers, body = await receiver.until(3)
            assert verifier.verify(body, headers)["type"] == "user.deleted" and headers["webhook-id"] == "e2"
            listener.process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(listener.process.wait(), PATIENCE_S) == 130
            assert b"Traceback" not in await listener.process.stderr.read()  # type: ignore[union-attr]

        async with listening(running, tmp_path, url, "--limit", "1") as again:
            assert again.secret == listener.secret, "it stays the same on this machine"
            await send(running, "order.paid", "e3")
            assert await asyncio.wait_for(again.process.wait(), PATIENCE_S) == 0
        assert [each.headers["webhook-id"] for each in receiver.arrivals] == ["e1", "e1", "e2", "e3"]
