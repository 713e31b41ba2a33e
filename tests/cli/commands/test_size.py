"""`hookstream size`."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from app.cli.main import program


def run(*words: str) -> str:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(program(("size",)), ["size", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_a_load_needs_in_words() -> None:
    printed = run("--events-per-second", "300")
    assert "dispatch" in printed and "HOOKSTREAM_PARTITIONS=12" in printed and "GB in PostgreSQL" in printed


def test_as_json() -> None:
    needed = json.loads(run("--events-per-second", "300", "--endpoints", "1000", "-o", "json"))
    assert needed["partitions"] == 12 and {"fanout", "dispatch"} <= {each["role"] for each in needed["workloads"]}


def test_a_load_that_cannot_be_is_refused() -> None:
    done = CliRunner().invoke(program(("size",)), ["size", "--events-per-second", "-1"])
    assert done.exit_code == 2
