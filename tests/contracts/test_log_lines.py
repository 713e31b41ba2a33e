"""Whatever a process says on stderr is one JSON object a line: ours, libraries', warnings, and what nobody caught."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_BEGIN = """
import asyncio, logging, sys, threading, warnings
from app.adapters.telemetry import logs
logs.configure(style="json", level=sys.argv[1])
import structlog
log = structlog.get_logger("ours")
"""


def printed(program: str, level: str = "info", code: int = 0) -> list[dict[str, Any]]:
    """The lines of a process."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + program, level],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    return lines


@pytest.mark.parametrize("library", ["aiokafka.conn", "faust.app", "mode", "aiohttp.server", "asyncio", "urllib3", "x"])
def test_a_librarys_error_is_a_line_with_its_traceback(library: str) -> None:
    (line,) = printed(
        f"logging.getLogger({library!r}).setLevel(logging.ERROR)\\n".replace("\\n", "\n")
        + "try:\n    1 / 0\nexcept ZeroDivisionError:\n"
        + f"    logging.getLogger({library!r}).error('it failed: %s', 'why', exc_info=True)"
    )
    assert (line["event"], line["level"]) == ("it failed: why", "error")
    assert "ZeroDivisionError" in line["exception"]


def test_a_warning_of_python_and_what_nobody_caught_are_lines() -> None:
    lines = printed(
        """
warnings.warn("deprecated\\nin two lines", UserWarning)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
class Bad:
    def __del__(self): raise ValueError("in a destructor")
Bad()
async def lost():
    asyncio.get_running_loop().create_task(asyncio.sleep(0)).add_done_callback(lambda task: 1 / 0)
    await asyncio.sleep(0.01)
asyncio.run(lost())
raise RuntimeError("the end")
""",
        code=1,
    )
    events = [line["event"] for line in lines]
    assert "in two lines" in events[0]
    assert events[1:3] == ["process.thread_ended", "process.unraisable"]
    assert events[3].startswith("Exception in callback") and events[4] == "process.uncaught"
    assert "the end" in lines[4]["exception"]


def test_a_commit_that_fails_after_its_time_limit_is_reported_by_its_caller_alone() -> None:
    lines = printed(
        """
class GroupCoordinator:
    async def _do_commit_offsets(self, answer):
        await answer
        raise ValueError("another coordinator")
async def given_up():
    answer = asyncio.Event()
    try:
        await asyncio.wait_for(asyncio.shield(GroupCoordinator()._do_commit_offsets(answer.wait())), 0.01)
    except TimeoutError:
        log.warning("source.commit_failed")
    answer.set()
    await asyncio.sleep(0.01)
asyncio.run(given_up())
"""
    )
    assert [line["event"] for line in lines] == ["source.commit_failed"]


def test_a_line_is_bounded_and_written_whatever_is_in_it() -> None:
    lines = printed(
        """
log.info("long", error="x" * 10_000_000)
log.info("half", text="\\udcff", number=2 ** 70, nested={"\\ud800": 1, 3: object})
log.info("many", example={str(n): "y" * 100 for n in range(100_000)})
log.info("ok", n=1)
log.debug("hidden")
"""
    )
    assert [line["event"] for line in lines] == ["long", "half", "many", "ok"]
    assert len(lines[0]["error"]) < 5_000 and lines[0]["error"].endswith("(10000000 characters)")
    assert "left_out" in lines[2] and len(json.dumps(lines[2])) < 300


def test_debug_shows_what_info_hides() -> None:
    assert [line["event"] for line in printed('log.debug("hidden")', "debug")] == ["hidden"]
