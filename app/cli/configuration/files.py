"""The files of a configuration: found in a folder, read, and checked as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from app.cli.configuration.desired import MOST_PROBLEMS, Desired, FilePlace
from app.cli.configuration.yaml_reader import FILE_BYTES, BadYaml, read_yaml
from app.cli.terminal.inputs import bytes_of
from app.core.errors import ConfigError

SUFFIXES = (".yaml", ".yml", ".json")
#: files of one configuration, and bytes of all
FILES = 10_000
ALL_BYTES = 256 * 1024 * 1024
STDIN = Path("(standard input)")


def read_all(sources: list[str]) -> Desired:
    """The configuration of files, folders with files, and `-` for standard input. Raises `ConfigError`."""
    desired = Desired()
    size = 0
    for file in _files(sources):
        content = _content(file)
        size += len(content)
        if size > ALL_BYTES:
            raise ConfigError([f"the files have more than {ALL_BYTES // 1024 // 1024} MiB in all"])
        _read(file, content, desired)
        if len(desired.problems) > MOST_PROBLEMS:
            break
    if desired.problems:
        shown = desired.problems[:MOST_PROBLEMS]
        more = ["… and more"] if len(desired.problems) > len(shown) else []
        raise ConfigError(shown + more)
    return desired


def _read(file: Path, content: bytes, desired: Desired) -> None:
    try:
        for document, line in read_yaml(content):
            desired.add_document(file, document, line)
    except BadYaml as error:
        desired.problems.append(f"{FilePlace(file, error.line)}: {error.sentence}")


def _files(sources: list[str]) -> Iterator[Path]:
    number = 0
    for source in sources:
        paths = iter([STDIN]) if source == "-" else _below(Path(source))
        empty = True
        for path in paths:
            number, empty = number + 1, False
            if number > FILES:
                raise ConfigError([f"there are more than {FILES:,} files"])
            yield path
        if empty:
            raise ConfigError([f"{source} has no files that end in {', '.join(SUFFIXES)}"])


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder) / name


def _content(path: Path) -> bytes:
    if path == STDIN:
        return bytes_of("-")
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
