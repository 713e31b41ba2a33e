"""Results on standard output: one JSON document for programs, a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer


class OutputFormat(StrEnum):
    """The value of `-o`."""

    table = "table"
    wide = "wide"
    json = "json"


OutputOption = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="table, wide (every column of a list), or json for scripts.")
]


def show(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    output: OutputFormat,
    empty: str,
    wide: Sequence[str] = (),
) -> None:
    """Print a list: a JSON array, or a table of `columns` that fits the terminal; with `-o wide`, of `wide` too."""
    if output is OutputFormat.json:
        print(orjson.dumps(list(rows)).decode())
        return
    from app.cli.terminal import tables  # takes time, and scripts read JSON

    if output is OutputFormat.wide and rows:
        tables.print_wide(rows, (*columns, *wide))
    else:
        tables.print_list(rows, columns, empty)


def show_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    print(orjson.dumps(document).decode())


def show_one(entity: Mapping[str, Any], output: OutputFormat) -> None:
    """Print an entity: a JSON object, or a table of its fields."""
    if output is OutputFormat.json:
        print(orjson.dumps(entity).decode())
        return
    from app.cli.terminal import tables

    tables.print_fields(entity)


def remind_to_store(what: str) -> None:
    """Remind a person on standard error that a secret is shown once."""
    typer.echo(f"Store this {what} now. It will not be shown again.", err=True)
