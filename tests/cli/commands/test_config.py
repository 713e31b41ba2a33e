"""`hookstream config print` and `config contexts`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from app.cli.commands import config
from app.cli.terminal.output import OutputFormat


def printed(file: Path, capsys: pytest.CaptureFixture[str], expect: int = 0) -> tuple[str, str]:
    with pytest.raises(typer.Exit) as end:
        config.contexts(file, OutputFormat.json)
    assert end.value.exit_code == expect
    streams = capsys.readouterr()
    return streams.out, streams.err


def test_contexts_are_listed_without_their_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[context.prod]\nurl = "https://hooks.example.com"\nkey = "sk_live_1"\n')
    file.chmod(0o600)
    out, _ = printed(file, capsys)
    assert json.loads(out) == [{"name": "prod", "url": "https://hooks.example.com", "file": str(file)}]


def test_the_old_section_name_is_refused_with_the_new_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[profile.prod]\nurl = "https://hooks.example.com"\n')
    out, err = printed(file, capsys, expect=2)
    assert out == ""
    assert "write [context.NAME]" in err
    assert "--context NAME" in err


@pytest.mark.parametrize(
    ("setting", "value"),
    [(True, True), (8080, 8080), (0.5, 0.5), (None, None), ((1, 2), ["1", "2"]), (Path("/data"), "/data")],
)
def test_json_has_the_types_of_the_settings(setting: object, value: object) -> None:
    assert config._value(setting) == value
