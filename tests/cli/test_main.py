"""A command loads only the libraries that it needs, and the list of commands loads none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.main import NAMES, named_in, program
from tests.cli.command_tree import root
from tests.patience import PATIENCE_S

#: libraries that take 20 ms or more to load
HEAVY = {
    *("faust", "mode", "aiokafka", "rocksdict", "sqlalchemy", "alembic", "asyncpg", "aiosqlite", "aiohttp"),
    *("aiohttp.web", "jinja2", "cryptography", "prometheus_client", "structlog", "jsonschema", "yaml", "uvloop"),
    *("rich.console", "rich.progress", "rich.table"),
}
#: no server listens on port 1; the names of the tests have to be the same in every process
API = ("--url", "http://127.0.0.1:1", "--key", "sk_live_1")
KAFKA = {"HOOKSTREAM_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
#: yaml reads the declarations of topics, and structlog brings rich
KAFKA_NEEDS = {"uvloop", "aiokafka", "structlog", "rich.console", "rich.table", "yaml"}
#: command line → libraries of `HEAVY` that it may load
MAY_LOAD: dict[tuple[str, ...], set[str]] = {
    ("--help",): set(),
    ("--version",): set(),
    ("status",): set(),
    ("config", "check"): set(),
    ("endpoints", "--help"): set(),
    ("endpoints", "list", "--help"): set(),
    ("events", "send", "--help"): set(),
    ("deliveries", "list", "--help"): set(),
    ("listen", "--help"): set(),
    ("run", "--help"): set(),
    ("up", "--help"): set(),
    ("listen", "--forward-to", "http://127.0.0.1:1", *API): {"uvloop", "aiohttp"},
    ("endpoints", "list", *API): {"uvloop", "aiohttp"},
    ("events", "send", "-", *API): {"uvloop", "aiohttp", "rich.console", "rich.progress", "rich.table"},
    ("deliveries", "list", *API): {"uvloop", "aiohttp"},
    ("stats", *API): {"uvloop", "aiohttp"},
    ("tenants", "list", *API): {"uvloop", "aiohttp"},
    ("dead", "list", *API): {"uvloop", "aiohttp"},
    ("dead", "discard", "--since", "begin", "--why", "x", *API): {"uvloop", "aiohttp"},
    ("size", "--events-per-second", "10"): {"rich.console", "rich.table"},
    ("verify", "nothing", "--secret", "x"): set(),
    ("topics", "export"): {"yaml", "structlog", "rich.console", "rich.table"},
    ("topics", "plan"): KAFKA_NEEDS,
    ("groups", "show"): KAFKA_NEEDS,
    ("tail", "events"): KAFKA_NEEDS,
    ("ordering", "show", "ep_1"): KAFKA_NEEDS,
    ("endpoints", "list"): KAFKA_NEEDS,
    ("events", "send", "-"): KAFKA_NEEDS,
}
PROBE = """
import json, sys
from app.cli.main import main
sys.argv = ["hookstream", *json.loads(sys.argv[1])]
try:
    main()
finally:
    print("\\n" + json.dumps(sorted(sys.modules)))
"""


def modules_of(words: tuple[str, ...], environ: Mapping[str, str], folder: Path) -> set[str]:
    """The modules that a process with this command line has loaded when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(words)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(folder), **environ},
        cwd=folder,
        input='{"type": "a.b", "data": {}}',
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", MAY_LOAD, ids=" ".join)
def test_a_command_loads_only_what_it_needs(words: tuple[str, ...], tmp_path: Path) -> None:
    over_kafka = "aiokafka" in MAY_LOAD[words]
    loaded = modules_of(words, KAFKA if over_kafka else {}, tmp_path)
    assert loaded & HEAVY - MAY_LOAD[words] == set()


def test_the_help_of_a_command_loads_no_heavy_library(tmp_path: Path) -> None:
    """All commands in one process."""
    code = f"import json, sys\nfrom app.cli.main import program\nprogram({NAMES!r})\nprint(json.dumps([*sys.modules]))"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & HEAVY == set()


def test_a_process_that_loads_more_is_noticed(tmp_path: Path) -> None:
    assert modules_of(("run", "nothing"), KAFKA, tmp_path) & HEAVY >= {"aiokafka", "aiohttp.web", "structlog"}


def test_the_list_of_commands_is_the_same_whatever_is_loaded() -> None:
    def listed(*loaded: str) -> str:
        return CliRunner(env={"COLUMNS": "80"}).invoke(program(loaded), ["--help"]).output

    assert listed() == listed(*NAMES)
    shown = listed().partition("Commands:")[2].strip().splitlines()
    assert [line.split()[0] for line in shown] == [*NAMES], "each on one line"


@pytest.mark.parametrize("name", NAMES)
def test_a_command_that_is_named_is_loaded(name: str) -> None:
    command: Any = root().commands[name]
    assert command.help and "does not name" not in command.help
    assert named_in(["-v", name, "list"]) == name


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        (
            {"_HOOKSTREAM_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "hookstream endpoints rota"},
            "rotate-secret",
        ),
        (
            {"_HOOKSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": "hookstream keys cr", "COMP_CWORD": "2"},
            "create",
        ),
        ({"_HOOKSTREAM_COMPLETE": "complete_bash", "COMP_WORDS": "hookstream end", "COMP_CWORD": "1"}, "endpoints"),
    ],
)
def test_a_shell_completes_commands_of_groups(environ: Mapping[str, str], word: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'hookstream'\nfrom app.cli.main import main; main()"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path), **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert word in done.stdout, done
