"""`hookstream pull` against a served API: what it prints, commits and survives."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.dashboard.stage import KEYS, Stage, open_stage
from tests.fakes.pulled_delivery import append_pulled
from tests.patience import PATIENCE_S


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as opened:
        opened.endpoint(id_="ep_1", kind="pull", url="", uid="agent")
        yield opened


def offer(stage: Stage, *names: str) -> None:
    for name in names:
        append_pulled(stage.log, name, "ep_1", b'{"type":"a.b","data":1}', partition=0)


async def started(stage: Stage, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from app.cli.main import main; main()",
        "pull",
        "agent",
        *words,
        "--url",
        stage.url,
        "--key",
        KEYS["acme", "live"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def printed(process: asyncio.subprocess.Process) -> list[str]:
    async with asyncio.timeout(PATIENCE_S):
        out, error = await process.communicate()
    assert process.returncode == 0, error
    return [json.loads(line)["id"] for line in out.splitlines()]


async def test_once_prints_what_is_there_and_commits_it(stage: Stage) -> None:
    offer(stage, "e1", "e2", "e3")
    assert await printed(await started(stage, "--once", "--no-commit")) == ["e1", "e2", "e3"]
    assert await printed(await started(stage, "--limit", "2")) == ["e1", "e2"]
    assert await printed(await started(stage, "--once")) == ["e3"]
    assert await printed(await started(stage, "--once")) == []
    assert stage.pulls.commits["ep_1"][0].offset == 3


async def test_it_waits_for_events_and_ends_with_ctrl_c(stage: Stage) -> None:
    stage.clock.auto = False  # a wait ends with an event, and not with a jump of the clock
    process = await started(stage)
    assert process.stdout is not None and process.stderr is not None
    async with asyncio.timeout(PATIENCE_S):
        while not stage.pulls.scans:
            await asyncio.sleep(0.01)
        offer(stage, "e1")
        assert json.loads(await process.stdout.readline())["id"] == "e1"
        while 0 not in stage.pulls.commits["ep_1"]:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = await process.communicate()
    assert b"Traceback" not in error
