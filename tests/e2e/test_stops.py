"""SIGTERM at each stage of the start of a real process: exit code 0, no traceback, nothing left running."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.conftest import RealBroker
from tests.e2e.harness import Service, pause
from tests.e2e.test_up import environ
from tests.patience import PATIENCE_S
from tests.ports import free_port


class Starting(Service):
    """A process whose log lines are read as they come."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(bootstrap, prefix, folder, {"HOOKSTREAM_LOG_LEVEL": "info", **(settings or {})})
        self.path = folder / "log"

    async def spawn(self) -> None:
        with self.path.open("wb") as output:
            self.output = output
            await super().spawn()

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines; each has to be JSON."""
        text = self.path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a log line."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for line in self.lines():
                    if condition(line):
                        return line
                assert self.alive, self.path.read_text()
                await pause(0.02)

    async def until_role(self, condition: Callable[[Mapping[str, str]], bool]) -> None:
        """Wait for what /readyz says of the roles."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    if condition((await self.readiness())[1]):
                        return
                except aiohttp.ClientError:
                    assert self.alive, self.path.read_text()
                await pause(0.02)

    async def stops_in_order(self) -> None:
        """SIGTERM; the exit code, and what the log says of it."""
        code = await self.stop()
        assert code == 0 and self.lines()[-1]["event"] == "process.stopped", self.path.read_text()
        assert "Traceback" not in self.path.read_text()


def event(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda line: line["event"] == name


@asynccontextmanager
async def _listening(answer: bool) -> AsyncIterator[int]:
    """A port that accepts connections and says nothing, or closes them at once."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not answer:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("at", ["process.started", "process.waiting_for_kafka"])
async def test_a_stop_while_waiting_for_kafka(tmp_path: Path, at: str) -> None:
    process = Starting(f"127.0.0.1:{free_port()}", "", tmp_path)
    await process.spawn()
    await process.until(event(at))
    await process.stops_in_order()


@pytest.mark.parametrize("answer", [False, True], ids=["silent", "closes"])
async def test_a_stop_while_another_server_answers_on_kafkas_port(tmp_path: Path, answer: bool) -> None:
    async with _listening(answer) as port:
        process = Starting(f"127.0.0.1:{port}", "", tmp_path)
        await process.spawn()
        await process.until(event("process.started"))
        await pause(0.5)
        await process.stops_in_order()


def _is_new(seen: set[str], new: set[str], roles: Mapping[str, str]) -> bool:
    new |= {f"{name}: {why}" for name, why in roles.items()} - seen
    return bool(new) or set(roles.values()) == {"ready"}


async def test_a_stop_while_the_roles_start(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    """At the first sight of each thing that a role waits for; the last start is let through."""
    seen: set[str] = set()
    process = Starting(broker.bootstrap, prefix, tmp_path)
    await process.cli("topics", "apply", "-o", "json")
    for _ in range(12):
        new: set[str] = set()

        await process.spawn()
        await process.until_role(partial(_is_new, seen, new))
        await process.stops_in_order()
        if not new:
            break
        seen |= new
    assert any("recovering" in each for each in seen), seen


async def test_a_stop_during_table_recovery_from_a_silent_kafka(own_broker: RealBroker, tmp_path: Path) -> None:
    process = Starting(own_broker.bootstrap, "", tmp_path)
    await process.cli("topics", "apply", "-o", "json")
    await process.spawn()
    await process.until_role(lambda roles: "recovering" in roles["fanout"])
    assert own_broker.own is not None and own_broker.own.pid is not None
    java = psutil.Process(own_broker.own.pid)
    java.suspend()
    try:
        code = await process.stop()
        assert code in (0, 1), "1: something did not stop in time"
        assert "Traceback" not in process.path.read_text()
        assert process.lines()[-1]["event"] == "process.stopped"
    finally:
        java.resume()


async def test_a_stop_while_waiting_for_the_database(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    settings = {"HOOKSTREAM_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none"}
    process = Starting(broker.bootstrap, prefix, tmp_path, settings)
    await process.cli("topics", "apply", "-o", "json")
    await process.spawn()
    await process.until_role(lambda roles: "cannot be used" in roles["projection"])
    await process.stops_in_order()


async def test_a_stop_while_the_port_of_the_api_is_in_use(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {"HOOKSTREAM_API_PORT": str(taken.getsockname()[1])}
        process = Starting(broker.bootstrap, prefix, tmp_path, settings)
        await process.cli("topics", "apply", "-o", "json")
        await process.spawn()
        await process.until_role(lambda roles: "HOOKSTREAM_API_PORT" in roles["api"])
        await process.stops_in_order()


async def test_a_failed_start_logs_one_line(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    """The port of the probes is taken; topics are missing; a setting is wrong."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = {"HOOKSTREAM_METRICS_PORT": str(taken.getsockname()[1])}
        for settings, code, words in (
            (port, 4, "HOOKSTREAM_METRICS_PORT"),
            ({}, 2, "topics apply"),
            ({"HOOKSTREAM_PARTITIONS": "none"}, 2, "HOOKSTREAM_PARTITIONS"),
        ):
            process = Starting(broker.bootstrap, prefix, tmp_path, settings)
            await process.spawn()
            assert await process.ended() == code
            last = process.lines()[-1]
            assert (last["event"], last["level"], last["exit_code"]) == ("process.failed", "critical", code)
            assert words in last["reason"] and "Traceback" not in process.path.read_text()


@pytest.mark.usefixtures("starts_a_broker")
@pytest.mark.parametrize("at", ["starting Kafka", "starting the roles", "Ready."])
async def test_up_can_be_stopped_at_every_stage(tmp_path: Path, at: str) -> None:
    path = tmp_path / "log"
    with path.open("wb") as output:
        running = await asyncio.create_subprocess_exec(
            Service("", "", tmp_path).command[0],
            "up",
            env=environ(tmp_path / "data"),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    async with asyncio.timeout(PATIENCE_S):
        while at not in path.read_text():
            assert running.returncode is None, path.read_text()
            await pause(0.02)
    children = psutil.Process(running.pid).children(recursive=True)
    running.terminate()
    assert await asyncio.wait_for(running.wait(), PATIENCE_S) == 0, path.read_text()
    assert "Traceback" not in path.read_text()
    _, left = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert left == [], os.fspath(path)


@pytest.fixture
def starts_a_broker() -> None:
    """`up` starts a real broker of its own."""
