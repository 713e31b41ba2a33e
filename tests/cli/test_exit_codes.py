"""Every exit code of the table is one that a command ends with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from app.cli.connect import process_context
from app.cli.main import program
from app.cli.serving import role_process
from app.core.errors import CommandRefused
from app.core.exit_codes import ExitCode
from app.runtime.process import Process
from tests.ports import free_port


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOOKSTREAM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    process_context.settings.cache_clear()
    yield tmp_path
    process_context.settings.cache_clear()


def ends(*words: str) -> ExitCode:
    return ExitCode(CliRunner().invoke(program(words), words).exit_code)


class StuckProcess:
    """`Process` with a role that a watchdog has given up."""

    async def start(self) -> None:
        """Nothing to start."""

    async def given_up(self) -> str:
        return "the role fanout makes no progress"

    async def stop(self) -> bool:
        return True


def done() -> ExitCode:
    return ends("config", "check")


def failed() -> ExitCode:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.commands.endpoint_actions.ask", lambda *_: {"ok": False, "status": 500})
        return ends("endpoints", "test", "ep_1", "--url", "http://127.0.0.1:1", "--key", "sk_live_1")


def wrong_usage() -> ExitCode:
    assert ends("endpoints", "show") is ExitCode.USAGE
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOOKSTREAM_API_PORT", "many")
        return ends("config", "check")


def refused() -> ExitCode:
    async def refuse(_: str) -> None:
        raise CommandRefused("not_found", "there is no endpoint ep_1")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.connect.endpoints_over_kafka.one", refuse)
        return ends("endpoints", "show", "ep_1")


def unavailable() -> ExitCode:
    assert ends("status") is ExitCode.UNAVAILABLE
    address = f"http://127.0.0.1:{free_port()}"
    return ends("endpoints", "show", "ep_1", "--url", address, "--key", "sk_live_1")


def stuck() -> ExitCode:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(role_process, "log", Mock())
        return ExitCode(asyncio.run(role_process._serve(cast(Process, StuckProcess()), asyncio.Event())))


def interrupted() -> ExitCode:
    async def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.cli.connect.endpoints_over_kafka.one", interrupt)
        return ends("endpoints", "show", "ep_1")


ENDINGS = {
    ExitCode.DONE: done,
    ExitCode.FAILED: failed,
    ExitCode.USAGE: wrong_usage,
    ExitCode.REFUSED: refused,
    ExitCode.UNAVAILABLE: unavailable,
    ExitCode.STUCK: stuck,
    ExitCode.INTERRUPTED: interrupted,
}


@pytest.mark.parametrize("code", ExitCode)
def test_a_command_uses_the_exit_code(code: ExitCode) -> None:
    assert ENDINGS[code]() is code


def test_the_help_names_every_code() -> None:
    shown = CliRunner(env={"COLUMNS": "300"}).invoke(program(["status"]), ["--help"]).output
    listed = " ".join(shown.partition("Exit codes:")[2].split())
    assert all(f"{code} " in listed for code in ExitCode)
