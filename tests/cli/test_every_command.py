"""What all commands have in common: `-o`, and the exit codes of those for the engineer on call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.adapters.secrets.keyring import generate_ring
from app.cli.connect import process_context
from app.cli.main import program
from app.core.exit_codes import ExitCode
from tests.cli.command_tree import commands
from tests.ports import free_port

#: services, whose output is a log or for people, and an export in the format of another tool
WITHOUT_OUTPUT = {"up", "run", "receiver", "topics export"}
SINCE = ("--since", "begin")
#: on-call command through the API → its arguments
THROUGH_API = {
    "dead list": (),
    "dead redrive": SINCE,
    "dead discard": (*SINCE, "--why", "test data"),
    "listen": ("--forward-to", "http://127.0.0.1:1"),
}
#: on-call command over Kafka → its arguments
OVER_KAFKA = {
    "tail events": (),
    "tail deliveries": (),
    "tail attempts": (),
    "groups show": (),
    "groups reset": ("fanout", "--to-datetime", "2h", "--dry-run"),
    "keys rotate": (),
    "backup": ("registry.backup",),
}
#: on-call command that reads a file → its arguments
WITH_FILE = {"verify": ("file", "--secret", "whsec_c2VjcmV0"), "restore": ("file",)}
#: its exit codes are tested on a broker with planted faults (tests/e2e/test_doctor.py)
ELSEWHERE = {"doctor"}
ON_CALL = ("dead", "listen", "tail", "groups", "keys rotate", "backup", "restore", "verify", "doctor")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HOOKSTREAM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOOKSTREAM_SECRET_KEYS", generate_ring())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    process_context.settings.cache_clear()
    yield tmp_path
    process_context.settings.cache_clear()


def ends(command: str, *words: str) -> tuple[ExitCode, str, str]:
    """Exit code, standard output and standard error, with -o json."""
    line = [*command.split(), *words, "-o", "json"]
    done = CliRunner().invoke(program(line), line)
    return ExitCode(done.exit_code), done.stdout, done.stderr


@pytest.mark.parametrize("name", commands())
def test_a_command_prints_json(name: str) -> None:
    options = {option for each in commands()[name].params for option in each.opts}
    assert ("-o" in options) is (name not in WITHOUT_OUTPUT)


def test_every_on_call_command_has_a_tested_exit_code() -> None:
    on_call = {name for name in commands() if name.startswith(ON_CALL)}
    assert on_call == {*THROUGH_API, *OVER_KAFKA, *WITH_FILE, *ELSEWHERE}


@pytest.mark.parametrize("name", THROUGH_API)
def test_without_an_api_a_command_ends_with_unavailable(name: str) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    code, out, error = ends(name, *THROUGH_API[name], "--url", address, "--key", "sk_live_1")
    assert (code, out) == (ExitCode.UNAVAILABLE, "") and address in error


@pytest.mark.parametrize("name", OVER_KAFKA)
def test_without_kafka_a_command_ends_with_unavailable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HOOKSTREAM_BOOTSTRAP_SERVERS", address)
    code, out, error = ends(name, *OVER_KAFKA[name])
    assert (code, out) == (ExitCode.UNAVAILABLE, "") and address in error


@pytest.mark.parametrize("name", WITH_FILE)
def test_a_file_without_content_is_wrong_usage(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKSTREAM_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    (folder / "file").write_text("")
    code, out, error = ends(name, *WITH_FILE[name])
    assert (code, out) == (ExitCode.USAGE, "") and error


def test_settings_and_a_key_ring_are_printed_as_json() -> None:
    assert json.loads(ends("config check")[1]) == {"usable": True}
    assert ":" in json.loads(ends("keys generate")[1])["ring"]
