"""The command `hookstream`. Only the modules of the given command are imported, because libraries load slowly."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Container, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer

from app.cli.connect import process_context
from app.cli.terminal.examples import keep_examples
from app.cli.terminal.whole_output import write_whole
from app.core import exit_codes
from app.core.exit_codes import ExitCode

#: command → what the list of commands says about it; its module has a function of the same name
_COMMANDS = {
    "up": "Start Kafka, the topics and all roles on this machine.",
    "status": "Show the addresses of the running `hookstream up`.",
    "run": "Run roles in this process.",
    "apply": "Make the configuration what files describe.",
    "export": "Write the configuration as files.",
    "doctor": "Examine the installation; each finding names its repair.",
    "backup": "Write the registry to one file.",
    "restore": "Write a backup into an empty registry.",
    "stats": "Show success rates, counts and latencies, by hour.",
    "size": "Say what a load needs: processes, memory, disk.",
    "verify": "Say why a request's signature fits or does not.",
    "listen": "Forward events to a URL on this machine, signed.",
    "pull": "Print the events of a pull endpoint, and commit them.",
    "receiver": "Receive webhooks, verify and print them.",
}
#: commands that run until a signal stops them
_SERVICES = ("up", "run")
#: group → what the list of commands says about it, and its modules, each with an `app`: the group, and additions to it
_GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "endpoints": ("The URLs that receive events.", ("endpoints", "endpoint_actions")),
    "events": (
        "Append events, and show their outcomes.",
        ("events_send", "events_list", "events_show", "events_dropped"),
    ),
    "deliveries": ("List, explain, retry and cancel deliveries.", ("deliveries",)),
    "dead": ("Count, redrive or discard dead deliveries.", ("dead",)),
    "tail": ("Follow events, deliveries and attempts over Kafka.", ("tail",)),
    "event-types": ("Declare event types and their schemas.", ("event_types",)),
    "import": ("Take over endpoints from Svix, Convoy or Outpost.", ("imports",)),
    "replay": ("Deliver past events again.", ("replay",)),
    "erasures": ("Erase the data of events about a person.", ("erasures",)),
    "tenants": ("Your customers, isolated from each other.", ("tenants",)),
    "keys": ("API keys, and the ring that seals secrets.", ("keys", "keys_rotate")),
    "ordering": ("Key queues of endpoints with `ordering: fifo`.", ("ordering",)),
    "readmodel": ("The SQL tables that are derived from Kafka.", ("readmodel",)),
    "groups": ("The roles' consumer groups: lag, members, resets.", ("groups",)),
    "inputs": ("Other systems' topics whose records become events.", ("inputs",)),
    "topics": ("Compare the cluster's topics with their declarations.", ("topics",)),
    "config": ("Show and check the settings; list contexts.", ("config",)),
}
#: all commands and groups
NAMES = (*_COMMANDS, *_GROUPS)


def program(loaded: Container[str]) -> typer.Typer:
    """The program with the named commands and groups; its help lists the others without loading them."""
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
    for name, sentence in _COMMANDS.items():
        command = getattr(_module(name), name) if name in loaded else _not_loaded
        made.command(name, short_help=sentence)(command)
    for name, (sentence, modules) in _GROUPS.items():
        made.add_typer(_group(modules) if name in loaded else typer.Typer(), name=name, short_help=sentence)
    keep_examples(made)
    return made


def _group(modules: Sequence[str]) -> typer.Typer:
    group: typer.Typer
    group, *more = (_module(each).app for each in modules)
    for each in more:
        group.add_typer(each)
    return group


def _not_loaded() -> None:
    """Stands for a command that the command line does not name."""


def named_in(words: Sequence[str]) -> str:
    """The command or group that a command line names."""
    return next((word for word in words if not word.startswith("-")), "")


def completed_words() -> Sequence[str]:
    """The words after `hookstream` that a shell asks to complete; empty when it does not."""
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    return line.split()[1:]


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
    if verbose:
        process_context.show_library_logs()


def main() -> None:
    """The entry point of the console script."""
    write_whole()
    words = sys.argv[1:]
    if named_in(words) in _SERVICES:
        # Their own handlers come with the event loop. Until then nothing has been started.
        for number, code in ((signal.SIGTERM, ExitCode.DONE), (signal.SIGINT, ExitCode.INTERRUPTED)):
            signal.signal(number, partial(_leave, code))
    program({named_in(words or completed_words())})()


def _leave(code: int, _number: int, _frame: object) -> None:
    os._exit(code)
