"""Ctrl-C while `replay start` or `replay show --follow` follows the progress."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
import typer

from app.cli.commands import replay
from app.cli.connect import process_context
from app.cli.connect.api_target import ApiTarget
from app.cli.terminal.output import OutputFormat
from app.core.exit_codes import ExitCode
from app.core.secret_text import SecretText


def test_ctrl_c_names_the_commands_that_show_and_cancel_the_replay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    def ask(_target: ApiTarget, _work: Any) -> NoReturn:
        process_context.run(interrupted())
        raise AssertionError("the interruption ends the command")

    monkeypatch.setattr(replay, "ask", ask)
    target = ApiTarget("http://127.0.0.1:1", SecretText("sk_test_1"), ca_file=None)
    with pytest.raises(typer.Exit) as end:
        replay._follow(target, {"id": "rpl_1", "state": "running"}, wait=True, output=OutputFormat.table)
    printed = capsys.readouterr().err
    assert end.value.exit_code == ExitCode.INTERRUPTED
    assert "The replay goes on" in printed
    assert "hookstream replay show rpl_1 --follow" in printed
    assert "hookstream replay cancel rpl_1" in printed
