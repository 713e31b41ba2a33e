"""`hookstream events list`: events with their outcomes, including those that no endpoint received."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connect import completion
from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.tenant_options import ModeOption, TenantOption, read_address
from app.cli.terminal.inputs import only_given
from app.cli.terminal.output import OutputFormat, OutputOption, show

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

app = typer.Typer()

_PAGE = 100
_COLUMNS = ("accepted_at", "id", "type", "outcome")
_WIDE = ("tenant", "mode", "place")


class OutcomeChoice(StrEnum):
    """The value of `--outcome`."""

    matched = "matched"
    pending = "pending"
    unmatched = "unmatched"
    rejected = "rejected"
    duplicate = "duplicate"


class UnknownChoice(StrEnum):
    """The value of `--unknown`."""

    tenant = "tenant"
    type = "type"


@app.command("list")
@uses_api
def list_(
    outcome: Annotated[
        OutcomeChoice | None,
        typer.Option(
            help="matched: it has deliveries; pending: an endpoint waits for its delivery; unmatched: no endpoint "
            "receives it; rejected: it is no valid event; duplicate: its idempotency key was accepted before.",
        ),
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", help="Only this event type: a.b, a.*", autocompletion=completion.event_types),
    ] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="Only events with this id.")] = None,
    unknown: Annotated[
        UnknownChoice | None,
        typer.Option(help="Only events of tenants that are not registered, or of undeclared types."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start of the range: 90s, 2h, 3d ago, or ISO 8601 with a zone.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="End of the range, exclusive.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of entries, newest first.")] = 50,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show events, newest first, with their outcomes (through the API).

    A tenant's key shows the events of its tenant and mode. The operator's token without --tenant shows the events of
    all tenants, and those of unknown tenants.

    Example:
        hookstream events list --outcome unmatched --since 1h
    """
    query = only_given(
        {
            "outcome": outcome.value if outcome is not None else None,
            "type": type_,
            "id": event_id,
            "unknown": unknown.value if unknown is not None else None,
            "since": since,
            "until": until,
        }
    )
    events, more = ask(read_address(tenant, mode), lambda api: _newest(api, query, limit))
    if output is OutputFormat.json:
        show(events, (), output, "")
        return
    of_many = len({event["tenant"] for event in events}) > 1
    columns = (*_COLUMNS, "tenant") if of_many else _COLUMNS
    wide = tuple(name for name in _WIDE if name not in columns)
    show([_row(event) for event in events], columns, output, "No events match.", wide)
    if more:
        print(f"There are more: these are the newest {limit} (--limit).")


async def _newest(api: ApiClient, query: Mapping[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The newest events, and whether there are more."""
    events: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await api.get("events", query={**query, "limit": str(_PAGE)} | ({"cursor": cursor} if cursor else {}))
        events += page["data"]
        cursor = page["next_cursor"]
        if cursor is None or len(events) >= limit:
            return events[:limit], cursor is not None or len(events) > limit


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    outcome = event["outcome"] if event["reason"] is None else f"{event['outcome']}: {event['reason']}"
    event_type = event["type"] if event["type_known"] or event["type"] is None else f"{event['type']} (undeclared)"
    tenant = event["tenant"] if event["tenant_known"] or event["tenant"] is None else f"{event['tenant']} (unknown)"
    place = f"partition {event['partition']}, offset {event['offset']}"
    return {
        "accepted_at": event["accepted_at"][:19] + "Z",
        "id": event["id"] or place,
        "type": event_type,
        "outcome": outcome,
        "tenant": tenant,
        "mode": event["mode"],
        "place": place,
    }
