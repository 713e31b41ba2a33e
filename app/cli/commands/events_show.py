"""`hookstream events show`: an event, and why each endpoint got it or did not."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal import delivery_view
from app.cli.terminal.inputs import only_given
from app.cli.terminal.output import OutputFormat, OutputOption, show_one

app = typer.Typer()


@app.command("show")
@uses_api
def show(
    event_id: Annotated[str, typer.Argument(help="The event's id: the producer's, or evt_…")],
    partition: Annotated[
        int | None,
        typer.Option(min=0, help="Its partition of events.raw, with --offset: for an event without deliveries."),
    ] = None,
    offset: Annotated[int | None, typer.Option(min=0, help="Its offset in that partition.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="If the event has no deliveries, search events.raw from then on (15m, 2h)."),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="PARTITION:OFFSET", help="Continue a search that did not reach the end.")
    ] = None,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show an event, its data, and why each endpoint got it or did not (through the API).

    An event is found by its deliveries. One without deliveries is found by partition and offset, or with --since.
    """
    place = {
        "partition": None if partition is None else str(partition),
        "offset": None if offset is None else str(offset),
    }
    query = only_given(place | {"since": since, "after": after})
    found = ask(address(tenant, mode), lambda api: api.get("events", event_id, query=query))
    if output is OutputFormat.json:
        show_one(found, output)
    else:
        delivery_view.show_event(found)
