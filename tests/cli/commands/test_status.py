"""`hookstream status` reads what a running `up` has left in the data folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from app.cli.commands.status import StatusField, status
from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat
from app.core.exit_codes import ExitCode


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOOKSTREAM_DATA_DIR", str(tmp_path))
    process_context.settings.cache_clear()
    yield tmp_path
    process_context.settings.cache_clear()


def exit_code(field: StatusField | None = None) -> int:
    with pytest.raises(typer.Exit) as end:
        status(field, OutputFormat.json)
    return end.value.exit_code


def test_the_addresses_that_up_chose_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = {"pid": os.getpid(), "bootstrap": "127.0.0.1:41001", "api_url": "http://127.0.0.1:41002"}
    (folder / "up.json").write_text(json.dumps(note))
    assert exit_code() == 0
    assert json.loads(capsys.readouterr().out) == note | {"dashboard": "http://127.0.0.1:41002/ui"}
    assert exit_code(StatusField.api_url) == 0
    assert capsys.readouterr().out == "http://127.0.0.1:41002\n"


def test_without_a_running_up_it_exits_with_4_and_names_the_folder(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code() == ExitCode.UNAVAILABLE
    assert str(folder) in capsys.readouterr().err
