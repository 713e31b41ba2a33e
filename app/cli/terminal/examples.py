"""The examples in the help of commands: one paragraph of the docstring, shown line by line as it was written."""

from __future__ import annotations

import inspect
import re

import typer

#: click prints a paragraph that begins with it without wrapping its lines, so that they can be pasted
_AS_WRITTEN = "\b\n"
_BEGINNING = re.compile(r"^(?=Examples?:)", re.MULTILINE)


def keep_examples(group: typer.Typer) -> None:
    """Let the help of every command of `group` show its examples unwrapped."""
    for command in group.registered_commands:
        text = inspect.getdoc(command.callback)
        if text and command.help is None:
            command.help = _BEGINNING.sub(_AS_WRITTEN, text)
    for each in group.registered_groups:
        if each.typer_instance is not None:
            keep_examples(each.typer_instance)
