"""Files, modules, metrics and commands that the documents name exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.adapters.telemetry.metrics import METRICS, PREFIX
from app.adapters.telemetry.top_endpoints import ENDPOINT_METRICS
from app.cli.main import NAMES, program
from app.settings import variables
from tests.architecture.test_documents import ROOT, each_document, prose

#: about releases and names that are no more
_PAST = {"CHANGELOG.md", "upgrading.md"}
_CODE = re.compile(r"`([^`\n]+)`")
_FOLDERS = ("app", "docs", "monitoring", "schemas", "scripts", "tests", "topics")
_BELOW_APP = tuple(path.name for path in (ROOT / "app").iterdir() if path.is_dir() and not path.name.startswith("_"))
_PATH = re.compile(rf"({'|'.join((*_FOLDERS, *_BELOW_APP))})/[\w./<>*\- ]*")
_MODULE = re.compile(r"python -m ((?:tests|app)[\w.]*)")
_METRIC = re.compile(rf"\b{PREFIX}[a-z_]+\b")
_COMMAND = re.compile(r"\bhookstream ([a-z][a-z-]*(?: [a-z][a-z-]*)?)")
#: a call, up to a comment, a pipe or the next command
_CALL = re.compile(r"\bhookstream ([a-z][^#|;&>`\n]*)")
_OPTION = re.compile(r"--[a-z][a-z-]*")
_SETTING = re.compile(r"\bHOOKSTREAM_(?!TEST_)[A-Z][A-Z_]*\b")
_SUFFIXES = ("_bucket", "_count", "_sum")


def spans(path: Path) -> Iterator[str]:
    """The code of the document, in lines and in blocks."""
    yield from _CODE.findall(prose(path))
    text = path.read_text(encoding="utf-8")
    yield from (line for block in text.split("```")[1::2] for line in block.splitlines())


def missing_paths(path: Path) -> Iterator[str]:
    for span in _CODE.findall(prose(path)):
        if not _PATH.fullmatch(span):
            continue
        pattern = re.sub(r"<[^>]*>", "*", span).rstrip("/")
        start = ROOT if pattern.partition("/")[0] in _FOLDERS else ROOT / "app"
        if not any(start.glob(pattern)):
            yield span


def missing_modules(path: Path) -> Iterator[str]:
    for name in _MODULE.findall(path.read_text(encoding="utf-8")):
        file = ROOT / name.replace(".", "/")
        if not file.with_suffix(".py").exists() and not (file / "__main__.py").exists():
            yield name


def missing_metrics(path: Path) -> Iterator[str]:
    names = {PREFIX + each.name for each in (*METRICS, *ENDPOINT_METRICS)}
    for name in _METRIC.findall(path.read_text(encoding="utf-8")):
        if not {name, *(name.removesuffix(suffix) for suffix in _SUFFIXES)} & names:
            yield name


def missing_commands(path: Path) -> Iterator[str]:
    groups = _groups()
    for span in spans(path):
        for words in _COMMAND.findall(span):
            first, *rest = words.split()
            if first not in groups or (rest and groups[first] and rest[0] not in groups[first]):
                yield f"hookstream {words}"


def missing_options(path: Path) -> Iterator[str]:
    for span in spans(path):
        for line in _CALL.findall(span):
            command = _program()
            for word in line.split():
                if word in getattr(command, "commands", ()):
                    command = command.commands[word]
                elif _OPTION.fullmatch(name := word.partition("=")[0]) and name not in _options(command):
                    yield f"hookstream {line.strip()}: {name}"


def _options(command: Any) -> set[str]:
    return {"--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}


def missing_settings(path: Path) -> Iterator[str]:
    settings = set(variables())
    for name in _SETTING.findall(path.read_text(encoding="utf-8")):
        if not {name, name.removesuffix("_FILE")} & settings and not name.endswith("_"):
            yield name


@cache
def _program() -> Any:
    return get_command(program(NAMES))


@cache
def _groups() -> dict[str, frozenset[str]]:
    """Command or group, and the group's commands."""
    commands: dict[str, Any] = _program().commands
    return {name: frozenset(getattr(command, "commands", ())) for name, command in commands.items()}


@each_document
@pytest.mark.parametrize(
    "missing",
    [missing_paths, missing_modules, missing_metrics, missing_commands, missing_options, missing_settings],
)
def test_names_in_documents_exist(path: Path, missing: Callable[[Path], Iterator[str]]) -> None:
    if path.name not in _PAST:
        assert not sorted(set(missing(path)))
