"""The command `hookstream`: only what the words on the command line need is loaded, since libraries take their time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer

from app.cli.connect import process_context
from app.cli.terminal.examples import keep_examples
from app.core import exit_codes
from app.core.exit_codes import ExitCode

#: command → its module, which has a function of the same name
_COMMANDS = ("up", "status", "run", "stats", "receiver")
#: commands that run until a signal stops them
_SERVICES = ("up", "run")
#: group → its modules, each with an `app`; the first one is the group, the others add to it
_GROUPS = {
    "endpoints": ("endpoints", "endpoint_actions"),
    "events": ("events_send", "events_list", "events_show", "events_dropped"),
    "deliveries": ("deliveries",),
    "event-types": ("event_types",),
    "replay": ("replay",),
    "tenants": ("tenants",),
    "keys": ("keys",),
    "ordering": ("ordering",),
    "readmodel": ("readmodel",),
    "topics": ("topics",),
    "config": ("config",),
}


def program(words: Sequence[str]) -> typer.Typer:
    """The program for a command line; for one that names no command, with all of them."""
    made = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Webhook delivery out of Kafka. Try it:  hookstream up --demo\n\n"
        "With --url, commands go through the management API of a service anywhere:  hookstream endpoints list "
        "--url https://hooks.example.com --key-file live.key.  ~/.config/hookstream/config.toml keeps addresses and "
        "keys as [context.NAME]; --context NAME chooses one.\n\n" + exit_codes.sentence(),
    )
    made.callback()(before)
    named = _named(words)
    names_a_command = named in _COMMANDS or named in _GROUPS
    for name in _COMMANDS:
        if name == named or not names_a_command:
            made.command(name)(getattr(_module(name), name))
    for name, (first, *more) in _GROUPS.items():
        if name == named or not names_a_command:
            group = _module(first).app
            for module in more:
                group.add_typer(_module(module).app)
            made.add_typer(group, name=name)
    keep_examples(made)
    return made


def _named(words: Sequence[str]) -> str:
    return next((word for word in words if not word.startswith("-")), "")


def _module(name: str) -> Any:
    return import_module(f"app.cli.commands.{name}")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hookstream {version('hookstream')}")
        raise typer.Exit


def before(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also show log messages of libraries.")] = False,
) -> None:
    """Runs before each command."""
    if not verbose:
        process_context.quiet_logs()


def main() -> None:
    """The entry point of the console script."""
    words = sys.argv[1:]
    if _named(words) in _SERVICES:
        # Their own handlers come with the event loop. Until then nothing has been started.
        for number, code in ((signal.SIGTERM, ExitCode.DONE), (signal.SIGINT, ExitCode.INTERRUPTED)):
            signal.signal(number, partial(_leave, code))
    program(words)()


def _leave(code: int, _number: int, _frame: object) -> None:
    os._exit(code)
