"""A start may be stopped at each of its steps: what was begun is ended, nothing is left, and no step is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.adapters.http.sender import HttpSender
from app.adapters.secrets.keyring import AesKeyRing
from app.cli.serving.role_process import start_patiently
from app.core.errors import ConfigError, Unavailable
from app.core.offsets.progress import RoleReport
from app.runtime.build.shared import ListenAddress
from app.runtime.open_parts import Parts
from app.runtime.process import Process
from app.runtime.supervisor import Supervisor
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock
from tests.kafka import clients_at
from tests.patience import PATIENCE_S

RING = "t1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ADDRESS = ListenAddress("127.0.0.1", 0, elsewhere=True)
#: awaits of one part's start
_STEPS = 3


class IdleRole:
    """A role that is never done."""

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    def ready(self) -> str | None:
        return None

    def report(self) -> RoleReport:
        return RoleReport({})


class Script:
    """Counts the awaits of a start, and cancels it, or lets it fail, at one of them."""

    def __init__(self, at: int, error: Exception | None = None) -> None:
        self._at = at
        self._error = error
        self.step = 0
        self.starting: asyncio.Task[Any] | None = None
        self.open: set[str] = set()
        self.begun: list[str] = []

    async def await_once(self) -> None:
        self.step += 1
        if self.step == self._at:
            if self._error is not None:
                raise self._error
            assert self.starting is not None
            self.starting.cancel()
        await asyncio.sleep(0)


class Part:
    """A part whose start takes some awaits, and which holds something from the first one on."""

    def __init__(self, name: str, script: Script) -> None:
        self._name = name
        self._script = script

    async def start(self, *_: Any) -> None:
        self._script.begun.append(self._name)
        self._script.open.add(self._name)
        for _step in range(_STEPS):
            await self._script.await_once()

    async def stop(self) -> None:
        await asyncio.sleep(0)
        self._script.open.discard(self._name)

    close = stop


def _process(folder: Path, script: Script) -> Process:
    settings = Settings(data_dir=folder, partitions=2, replication_factor=1)
    made = Process(settings, clients_at("127.0.0.1:1"), topics_of(settings), AesKeyRing(RING), [], ADDRESS)
    made._supervisor = Supervisor({"delay": IdleRole}, FakeClock(), made.meter)
    made._log = Part("log", script)  # type: ignore[assignment]
    made._feed = Part("directory", script)  # type: ignore[assignment]
    made._sender = Part("sender", script)  # type: ignore[assignment]
    made._check_rights = lambda: asyncio.sleep(0)  # type: ignore[method-assign]
    made._check_topics = lambda: asyncio.sleep(0)  # type: ignore[assignment]
    made._care = lambda: [asyncio.sleep(PATIENCE_S)]  # type: ignore[method-assign]
    return made


async def _others() -> set[asyncio.Task[Any]]:
    await asyncio.sleep(0)
    return asyncio.all_tasks() - {asyncio.current_task()}


def _errors() -> list[Callable[[], Exception | None]]:
    return [lambda: None, lambda: Unavailable("away"), lambda: ConfigError(["a topic"]), lambda: RuntimeError("ours")]


@pytest.mark.parametrize("error", _errors(), ids=["cancelled", "unavailable", "wrong", "defect"])
async def test_an_aborted_start_leaves_nothing_open(tmp_path: Path, error: Callable[[], Exception | None]) -> None:
    before = await _others()
    for at in range(1, 3 * _STEPS + 1):
        script = Script(at, error())
        process = _process(tmp_path, script)
        script.starting = asyncio.create_task(process.start())
        await asyncio.wait([script.starting])
        assert script.starting.cancelled() or script.starting.exception() is not None, at
        assert script.begun == ["log", "directory", "sender"][: (at - 1) // _STEPS + 1]
        assert script.open == set() and await _others() == before, at
        assert await process.stop(), "again: nothing to do"


async def test_a_start_that_has_failed_may_be_repeated(tmp_path: Path) -> None:
    script = Script(_STEPS + 1, Unavailable("away"))
    process = _process(tmp_path, script)
    with pytest.raises(Unavailable):
        await process.start()
    await process.start()
    assert script.begun == ["log", "directory", "log", "directory", "sender"]
    assert script.open == {"log", "directory", "sender"} and process._loop_watch._ticking is not None
    assert await process.stop() and script.open == set() and process._loop_watch._ticking is None


async def test_a_stop_while_kafka_is_waited_for_waits_for_nothing(tmp_path: Path) -> None:
    class Away(Process):
        starts = 0

        async def start(self) -> None:
            self.starts += 1
            if self.starts == 2:
                asyncio.get_running_loop().call_soon(stop.set)
            raise Unavailable("away")

    settings = Settings(data_dir=tmp_path)
    process = Away(settings, clients_at("127.0.0.1:1"), topics_of(settings), AesKeyRing(RING), [], ADDRESS)
    stop = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S):
        assert not await start_patiently(process, stop)
    assert process.starts == 2, "no further try after the order to stop"


async def test_a_part_that_cannot_be_closed_keeps_no_other_open() -> None:
    parts, closed = Parts(), []

    async def fail() -> None:
        raise RuntimeError("it broke")

    await parts.open("first", lambda: None, lambda: closed.append("first"))
    await parts.open("second", lambda: None, fail)
    await parts.open("third", lambda: None, lambda: closed.append("third"))
    assert not await parts.close() and closed == ["third", "first"]
    assert not await parts.close(), "and it is not forgotten"


async def test_a_sender_is_closed_by_the_caller_that_began_to_start_it(tmp_path: Path) -> None:
    process = _process(tmp_path, Script(2, Unavailable("away")))
    process._sender = HttpSender(process._policy)
    with pytest.raises(Unavailable):
        await process.start()
