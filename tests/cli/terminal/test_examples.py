"""The help of every command has an example that the parser accepts, on a line that can be pasted."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.testing import CliRunner

from app.cli.main import program
from tests.cli.command_tree import commands, parse

#: what ends a command in a shell
_ENDS = frozenset({"|", "||", "&&", "&", ";", ">", ">>", "<", ")"})


def examples_of(command: str) -> list[str]:
    """The lines of the paragraph `Example:` or `Examples:` in a command's help, as a terminal of 80 columns has it."""
    words = command.split()
    shown = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).invoke(program(words), [*words, "--help"]).output
    paragraph = re.search(r"^ *Examples?:\n((?: +\S.*\n)+)", shown, re.MULTILINE)
    return [line.strip() for line in paragraph[1].splitlines()] if paragraph else []


def calls_in(line: str) -> list[list[str]]:
    """The words of each call of `hookstream` in a line of a shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    calls: list[list[str]] = []
    inside = False
    for word in lexer:
        if word == "hookstream":
            calls.append([])
            inside = True
        elif word in _ENDS:
            inside = False
        elif inside:
            calls[-1].append(word)
    return calls


@pytest.mark.parametrize("command", commands())
def test_the_help_has_an_example_that_can_be_pasted(command: str) -> None:
    lines = examples_of(command)
    assert lines, f"the docstring of `{command}` needs a paragraph `Example:` with an indented line for each call"
    for line in lines:
        assert "…" not in line and "..." not in line and not line.endswith("\\"), line
        calls = calls_in(line)
        assert any(" ".join(call).startswith(command) for call in calls), f"{line}: no call of `{command}`"
        for call in calls:
            parse(call)


def test_a_call_is_cut_out_of_its_line() -> None:
    line = "echo '{}' | hookstream events send - >ids && export A=$(hookstream status api_url)"
    assert calls_in(line) == [["events", "send", "-"], ["status", "api_url"]]
