"""`hookstream up`: from nothing to delivered events, nothing left behind, and everything remembered."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.conftest import JAR_CACHE
from tests.e2e.harness import HOOKSTREAM
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("starts_a_broker")


@pytest.fixture
def starts_a_broker() -> None:
    """`up` starts a real broker of its own."""


def environ(data_dir: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOME": os.environ.get("HOME", "/"),
        "COLUMNS": "200",
        "HOOKSTREAM_DATA_DIR": str(data_dir),
        "HOOKSTREAM_CACHE_DIR": str(JAR_CACHE),
        "HOOKSTREAM_API_PORT": "0",
        "HOOKSTREAM_PARTITIONS": "3",
    }


async def cli(data_dir: Path, *arguments: str, expect: int = 0) -> str:
    process = await asyncio.create_subprocess_exec(
        HOOKSTREAM, *arguments, env=environ(data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == expect, out.decode() + err.decode()
    return out.decode()


class Up:
    """A running `hookstream up`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, pattern: str) -> str:
        """Read lines until one matches."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self.process.stdout.readline()).decode():
                self.lines.append(line)
                if re.search(pattern, line):
                    return line
        raise AssertionError("ended without it:\n" + "".join(self.lines))


async def start(data_dir: Path, *arguments: str) -> Up:
    return Up(
        await asyncio.create_subprocess_exec(
            HOOKSTREAM, "up", *arguments, env=environ(data_dir), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    )


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


async def test_demo_once_shows_every_products_events_with_valid_signatures(tmp_path: Path) -> None:
    shown = await cli(tmp_path, "up", "--demo", "--once")
    for product, number in {
        "standard": 2,
        "bota": 11,
        "efficlose": 17,
        "recall": 9,
        "voxscriber": 7,
        "all": 46,
    }.items():
        assert re.search(rf"{product}\s*│\s*{number}\s*│\s*{number}\s", shown), shown
    first = json.loads(await state(tmp_path))
    again = await cli(tmp_path, "up", "--demo", "--once")
    assert re.search(r"all\s*│\s*46\s*│\s*46\s", again), again
    assert json.loads(await state(tmp_path)) == first
    assert len(first) == 5


async def state(data_dir: Path) -> str:
    """The endpoints as a fresh `up` remembers them: their ids and secrets' versions."""
    up = await start(data_dir)
    try:
        await up.until("Ready")
        listed = json.loads(await cli(data_dir, "endpoints", "list", "-o", "json"))
        return json.dumps(sorted(each["id"] for each in listed))
    finally:
        up.process.send_signal(signal.SIGINT)
        await asyncio.wait_for(up.process.wait(), PATIENCE_S)


async def test_ctrl_c_leaves_no_process_and_no_lock_and_endpoints_are_remembered(tmp_path: Path) -> None:
    up = await start(tmp_path)
    await up.until("Ready")
    await cli(tmp_path, "tenants", "add", "acme")
    added = json.loads(
        await cli(
            tmp_path,
            "endpoints",
            "add",
            "http://127.0.0.1:9/x",
            "--tenant",
            "acme",
            "--profile",
            "bota",
            "--events",
            "recording.*,device.*",
            "-o",
            "json",
        )
    )
    assert added["secret"] and added["id"].startswith("ep_")
    assert "secret" not in json.loads(await cli(tmp_path, "endpoints", "show", added["id"], "-o", "json"))
    second = await start(tmp_path)
    await second.until("running already")
    assert await second.process.wait() == 4
    children = family(up.process.pid)
    assert any("java" in child.name() for child in children)
    up.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(up.process.wait(), PATIENCE_S) == 0
    assert not psutil.wait_procs(children, timeout=PATIENCE_S)[1], "a process was left behind"
    assert not (tmp_path / "up.json").exists()
    again = await start(tmp_path)
    try:
        await again.until("Ready")
        (known,) = json.loads(await cli(tmp_path, "endpoints", "list", "-o", "json"))
        assert known["id"] == added["id"] and known["events"] == ["recording.*", "device.*"]
        changed = json.loads(
            await cli(tmp_path, "endpoints", "update", added["id"], "--status", "paused", "-o", "json")
        )
        assert changed["status"] == "paused" and changed["version"] == 2
        await cli(tmp_path, "endpoints", "update", added["id"], "--status", "active", "--expect-version", "1", expect=3)
        await cli(tmp_path, "endpoints", "add", "https://u:p@example.com/", expect=3)
        await cli(tmp_path, "endpoints", "remove", added["id"])
        assert json.loads(await cli(tmp_path, "endpoints", "list", "-o", "json")) == []
        assert (tmp_path / "secret.keys").stat().st_mode & 0o777 == 0o600
    finally:
        again.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(again.process.wait(), PATIENCE_S) == 0


async def test_kill_9_of_up_takes_kafka_along_and_the_next_start_works(tmp_path: Path) -> None:
    up = await start(tmp_path)
    await up.until("Ready")
    children = family(up.process.pid)
    up.process.kill()
    await up.process.wait()
    assert not psutil.wait_procs(children, timeout=PATIENCE_S)[1], "Kafka was left behind"
    again = await start(tmp_path)
    await again.until("Ready")
    again.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(again.process.wait(), PATIENCE_S) == 0


async def test_a_killed_broker_is_started_again(tmp_path: Path) -> None:
    up = await start(tmp_path, "--demo")
    await up.until("Ctrl-C stops")
    java = next(child for child in family(up.process.pid) if "java" in child.name())
    java.kill()
    await up.until("broker.restarted")
    event = tmp_path / "event.json"
    event.write_text('{"type": "ping", "tenant": "demo-standard", "data": {"after": "the kill"}}', encoding="ascii")
    await cli(tmp_path, "events", "send", str(event))
    await up.until(r"standard\s+ping .*signature valid")
    up.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(up.process.wait(), PATIENCE_S) == 0


async def test_unknown_settings_stop_the_start_with_all_errors(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        HOOKSTREAM,
        "up",
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environ(tmp_path) | {"HOOKSTREAM_TIMESCALE": "2", "HOOKSTREAM_KAFKA_PORT": "x"},
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert "did you mean HOOKSTREAM_TIME_SCALE?" in err.decode() and "HOOKSTREAM_KAFKA_PORT" in err.decode()
