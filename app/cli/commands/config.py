"""`hookstream config`: what the settings are, and whether they can be used."""

from __future__ import annotations

from typing import Any

import typer

from app.adapters.secrets.keyring import AesKeyRing
from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show
from app.settings import PREFIX, Settings

app = typer.Typer(no_args_is_help=True, help="Show and check the settings (HOOKSTREAM_* variables).")


@app.command("print")
def print_config(output: OutputOption = OutputFormat.table) -> None:
    """Show every setting with its value; secrets stay hidden."""

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
def check() -> None:
    """Check the settings. Prints all errors at once, and exits with 2 if there are any."""

    def work() -> int:
        settings = process_context.settings()
        if settings.secret_keys is not None:
            AesKeyRing(settings.secret_keys.reveal())
        print("The settings can be used.")
        return 0

    process_context.guarded(work)


def _value(setting: Any) -> Any:
    """A setting as JSON can hold it; a secret as its placeholder."""
    if setting is None or isinstance(setting, bool | int | float):
        return setting
    return [str(each) for each in setting] if isinstance(setting, tuple) else str(setting)
