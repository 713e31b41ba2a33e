"""`hookstream config`: show and check the settings, and list the contexts of the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.connect import contexts_file, process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_json
from app.settings import PREFIX, Settings

app = typer.Typer(no_args_is_help=True, help="Show and check the settings (HOOKSTREAM_* variables), and list contexts.")


@app.command("print")
def print_config(output: OutputOption = OutputFormat.table) -> None:
    """Show every setting with its value; secrets stay hidden.

    Example:
        hookstream config print -o json
    """

    def work() -> int:
        settings = process_context.settings()
        rows = [
            {"setting": PREFIX + name.upper(), "value": _value(getattr(settings, name))}
            for name in Settings.__struct_fields__
        ]
        show(rows, ("setting", "value"), output, "")
        return 0

    process_context.guarded(work)


@app.command("check")
def check(output: OutputOption = OutputFormat.table) -> None:
    """Check the settings. Prints all errors at once, and exits with 2 if there are any.

    Example:
        hookstream config check
    """

    def work() -> int:
        settings = process_context.settings()
        if settings.secret_keys is not None:
            from app.adapters.secrets.keyring import AesKeyRing

            AesKeyRing(settings.secret_keys.reveal())
        if output is OutputFormat.json:
            show_json({"usable": True})
        else:
            print("The settings can be used.")
        return 0

    process_context.guarded(work)


@app.command("contexts")
def contexts(
    file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Another file than ~/.config/hookstream/config.toml."),
    ] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """List the contexts that --context NAME can choose: names and URLs, never keys.

    Example:
        hookstream config contexts
    """

    def work() -> int:
        path = file.expanduser() if file is not None else contexts_file.default_path(os.environ)
        entries = contexts_file.read(path) if file is not None or path.exists() else {}
        rows = [{"name": each.name, "url": each.url, "file": str(each.file)} for each in entries.values()]
        show(rows, ("name", "url"), output, f"No contexts: write [context.NAME] and url = … into {path}", ("file",))
        return 0

    process_context.guarded(work)


def _value(setting: Any) -> Any:
    """A setting as a JSON value; secrets as a placeholder."""
    if setting is None or isinstance(setting, bool | int | float):
        return setting
    return [str(each) for each in setting] if isinstance(setting, tuple) else str(setting)
