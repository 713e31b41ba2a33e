"""Values that commands read from files and standard input: secrets, which must not be arguments, and JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import typer

from app.core.errors import ConfigError

WHY_FILE = "(- = stdin). Command-line arguments are visible in process lists and in the shell's history; files are not"

_stdin_read: list[bool] = []


def bytes_of(file: str) -> bytes:
    """The content of a file, or of standard input for `-`."""
    if file == "-":
        if _stdin_read:
            raise ConfigError(["standard input (-) is named twice: it can be read once"])
        _stdin_read.append(True)
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error


def secret_of(name: str, given: str | None, file: str | None) -> str | None:
    """The value of `--NAME`, or the content of the file of `--NAME-file`; giving both is an error."""
    if given is not None and file is not None:
        raise ConfigError([f"--{name} and --{name}-file are both given: keep one"])
    if file is None:
        return given
    try:
        text = bytes_of(file).decode().strip()
    except UnicodeDecodeError as error:
        raise ConfigError([f"--{name}-file: {file} does not hold text"]) from error
    if not text:
        raise ConfigError([f"--{name}-file: {'standard input' if file == '-' else file} is empty"])
    return text


def json_of(name: str, given: str) -> msgspec.Raw:
    """JSON, or the content of a file for `@FILE` (`@-`: standard input), byte for byte."""
    text = bytes_of(given[1:]) if given.startswith("@") else given.encode()
    try:
        msgspec.json.decode(text)
    except ValueError as error:
        raise typer.BadParameter(f"{name} is not JSON: {error}. Write JSON, or @FILE") from error
    return msgspec.Raw(text.strip())


def pairs_of(name: str, given: list[str], sign: str) -> dict[str, str]:
    """`Name<sign>value` words as a mapping."""
    pairs = {}
    for text in given:
        left, middle, right = text.partition(sign)
        if not middle or not left.strip():
            raise typer.BadParameter(f"{name} {text!r}: write it as 'name{sign}value'")
        pairs[left.strip()] = right.strip()
    return pairs


def list_of(text: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def seconds_of(text: str | None) -> tuple[float, ...] | None:
    """Comma-separated numbers."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter("schedule: seconds, comma-separated, for example 0,5,60") from error


def only_given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that have a value."""
    return {name: value for name, value in values.items() if value is not None}
