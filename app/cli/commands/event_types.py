"""`hookstream event-types`: the catalogue, and types of your own with their schemas."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.connect import completion
from app.cli.connect.api_connection import ask, the_api, uses_api
from app.cli.terminal.inputs import json_of, only_given
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one

app = typer.Typer(
    no_args_is_help=True, help="Event types: the products' catalogues, and custom types (through the API)."
)

NameArgument = Annotated[
    str, typer.Argument(help="The event type's name, for example order.shipped.", autocompletion=completion.event_types)
]


def _schema_modes(incomplete: str) -> list[str]:
    return [mode for mode in ("off", "warn", "reject") if mode.startswith(incomplete)]


@app.command("list")
@uses_api
def list_(
    profile: Annotated[
        str | None, typer.Option(help="Only this product's catalogue.", autocompletion=completion.wire_formats)
    ] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show the event types that the key's tenant may use."""
    query = only_given({"profile": profile})
    found = ask(the_api(), lambda api: api.all("event-types", query=query))
    show(found, ("name", "profile", "mode", "description"), output, "No event types.")


@app.command("show")
@uses_api
def show_command(name: NameArgument, output: OutputOption = OutputFormat.table) -> None:
    """Show one event type with its schema and example."""
    show_one(ask(the_api(), lambda api: api.get("event-types", name)), output)


@app.command("put")
@uses_api
def put(
    name: NameArgument,
    schema: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with the JSON Schema (2020-12) of `data`; - = stdin.")
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="What happens to events that violate the schema. off: no check; warn: counted and "
            "delivered; reject: put into events.rejected.",
            autocompletion=_schema_modes,
        ),
    ] = "off",
    description: Annotated[str, typer.Option(help="Free text shown in lists.")] = "",
    output: OutputOption = OutputFormat.table,
) -> None:
    """Register an event type of your own, or replace it."""
    given = json_of("--schema", "@" + schema) if schema is not None else None
    body = only_given({"description": description, "schema": given, "mode": mode})
    show_one(ask(the_api(), lambda api: api.put("event-types", name, body=body)), output)


@app.command("remove")
@uses_api
def remove(name: NameArgument, output: OutputOption = OutputFormat.table) -> None:
    """Delete a custom event type."""
    ask(the_api(), lambda api: api.delete("event-types", name))
    show_one({"name": name, "removed": True}, output)
