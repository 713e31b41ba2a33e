"""Lists and entities for people: tables that fit the terminal, or a block for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

#: columns whose values are pasted into other commands, or are times: they are never cut or folded
_WHOLE = frozenset(
    {"id", "endpoint", "event_id", "name", "setting", "state", "status", "tenant"}
    | {"accepted_at", "appended_at", "created_at", "hour"}
)
#: characters that every other column keeps, or as many as its longest value has
_MIN_WIDTH = 8
#: characters between two columns
_GAP = 2


def print_list(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """Print a table of `columns` that fits the terminal, blocks where none fits, or `empty`."""
    console = Console()
    if not rows:
        console.print(empty, highlight=False)
    elif _fits(rows, columns, console.width):
        console.print(_table(rows, columns))
    else:
        _print_blocks(console, rows, columns)


def print_fields(entity: Mapping[str, Any]) -> None:
    """Print a table with a line for each field."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in entity.items():
        table.add_row(name, _cell(value))
    Console().print(table)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, whole: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, _GAP - 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=whole or column in _WHOLE)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _fits(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], width: int) -> bool:
    """Whether a table of that width has room for whole ids, and some room for every other column."""
    needed = 0
    for column in columns:
        longest = max(cell_len(column), *(cell_len(_plain(row.get(column))) for row in rows))
        needed += _GAP + (longest if column in _WHOLE else min(longest, max(_MIN_WIDTH, cell_len(column))))
    return needed - _GAP <= width


def print_wide(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print a table with one line for each row, however long the lines become."""
    table = _table(rows, columns, whole=True)
    console = Console(width=1_000_000)
    Console(width=console.measure(table).maximum).print(table)


def _print_blocks(console: Console, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print one block of `column  value` lines for each row, for ids that leave no room beside them."""
    label = max(map(cell_len, columns)) + _GAP
    for number, row in enumerate(rows):
        if number:
            console.print()
        for column in columns:
            value = _cell(row.get(column))
            if not value:
                continue
            if column in _WHOLE:
                console.print(f"{column:<{label}}{value}", soft_wrap=True, highlight=False)
                continue
            line = Table.grid()
            line.add_column(width=label, no_wrap=True)
            line.add_column(overflow="fold")
            line.add_row(column, value)
            console.print(line)


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
