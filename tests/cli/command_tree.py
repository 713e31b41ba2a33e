"""Every command of `hookstream`, as its parser has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import typer

from app.cli.main import NAMES, program

#: a command of click; typer brings its own copy of it
Command = Any


@cache
def root() -> Command:
    """The program with all its commands."""
    return typer.main.get_command(program(NAMES))


def commands() -> dict[str, Command]:
    """The commands without subcommands, by what one types: `endpoints add`."""
    return dict(_below(root(), ()))


def parse(words: list[str]) -> dict[str, Any]:
    """What the parser makes of the words after `hookstream`. Raises click's errors."""
    command, rest = root(), list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    parameters: dict[str, Any] = command.make_context("hookstream", rest).params
    return parameters


def _below(command: Command, path: tuple[str, ...]) -> Iterator[tuple[str, Command]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, each in command.commands.items():
        yield from _below(each, (*path, name))
