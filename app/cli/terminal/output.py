"""How results are shown: one JSON document for programs, a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class OutputFormat(StrEnum):
    """The value of `-o`."""

    json = "json"
    table = "table"


#: columns whose values people copy, or look for
_WHOLE = ("id", "endpoint", "name", "state")

OutputOption = Annotated[OutputFormat, typer.Option("--output", "-o", help="table, or json for scripts.")]


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: OutputFormat, empty: str) -> None:
    """A list: a JSON array, or a table of some columns."""
    if output is OutputFormat.json:
        print(orjson.dumps(list(rows)).decode())
        return
    console = Console()
    if not rows:
        console.print(empty)
        return
    table = Table()
    for column in columns:
        # an id is for copying: it is never cut short
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table)


def show_one(entity: Mapping[str, Any], output: OutputFormat) -> None:
    """One thing: a JSON object, or a table of its fields."""
    if output is OutputFormat.json:
        print(orjson.dumps(entity).decode())
        return
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in entity.items():
        table.add_row(name, _cell(value))
    Console().print(table)


def _cell(value: Any) -> str:
    return escape(_plain(value))


def _plain(value: Any) -> str:
    match value:
        case None:
            return ""
        case list() | tuple():
            return ", ".join(map(_plain, value))
        case dict():
            return orjson.dumps(value).decode() if value else ""
        case _:
            return str(value)
