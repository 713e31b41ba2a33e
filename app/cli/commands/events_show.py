"""`hookstream events show`: an event, and why each endpoint received it or did not."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.tenant_options import ModeOption, TenantOption, read_address
from app.cli.terminal.inputs import only_given
from app.cli.terminal.output import OutputFormat, OutputOption, show_one

app = typer.Typer()


@app.command("show")
@uses_api
def show(
    event_id: Annotated[str, typer.Argument(help="The event's id: the producer's, or evt_…")],
    partition: Annotated[
        int | None,
        typer.Option(min=0, help="Its partition of events.raw, with --offset: for one of several with the same id."),
    ] = None,
    offset: Annotated[int | None, typer.Option(min=0, help="Its offset in that partition.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="If the index does not have the event, search events.raw from then on (15m, 2h)."
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="PARTITION:OFFSET", help="Continue a search that did not reach the end.")
    ] = None,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show an event, its data, and why each endpoint received it or did not (through the API).

    The id is enough. The operator's token finds an event of any tenant; --tenant chooses where several have the id.

    Example:
        hookstream events show evt_b5n2xq7ykd3mzr4wcjt6ahue
    """
    place = {
        "partition": None if partition is None else str(partition),
        "offset": None if offset is None else str(offset),
    }
    query = only_given(place | {"since": since, "after": after})
    event = ask(read_address(tenant, mode), lambda api: api.get("events", event_id, query=query))
    if output is OutputFormat.json:
        show_one(event, output)
    else:
        from app.cli.terminal import delivery_view

        delivery_view.show_event(event)
