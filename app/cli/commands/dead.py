"""`hookstream dead`: dead deliveries by cause, their delivery again once it is repaired, and their end without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.commands.deliveries import (
    MOST_AT_ONCE,
    DeliverySinceOption,
    EndpointOption,
    EventOption,
    ResultOption,
    StatusOption,
    TypeOption,
    UntilOption,
    filter_of,
    page_through,
    retry_matching,
    show_retried,
)
from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal.inputs import only_given
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

app = typer.Typer(
    no_args_is_help=True,
    help="Dead deliveries: those without a further attempt (through the API).\n\n"
    "What has died, and why?  hookstream dead list --since 1d\n\n"
    "Repaired?  hookstream dead redrive --endpoint ep_… --since 1d --dry-run  counts, without --dry-run it delivers."
    "\n\n"
    "Not needed any more?  hookstream dead discard --endpoint ep_… --until 1d --why 'test data'  ends them.",
)

_COLUMNS = ("count", "endpoint", "last", "newest")
_WIDE = ("oldest", "types", "example")
#: types that a row names
_TYPES = 3


@app.command("list")
@uses_api
def list_(
    endpoint: EndpointOption = None,
    event: EventOption = None,
    type_: TypeOption = None,
    status: StatusOption = None,
    result: ResultOption = None,
    since: DeliverySinceOption = None,
    until: UntilOption = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Maximum number of deliveries to count, newest first.")
    ] = 1000,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Count dead deliveries by endpoint and last outcome, so that the causes to repair are visible at once.

    Examples:
        hookstream dead list --since 1d
        hookstream dead list --tenant acme --status 5xx -o json
    """
    query = filter_of(endpoint, event, type_, status, result, since, until, state="dead")

    async def work(api: ApiClient) -> tuple[list[Any], bool]:
        return await page_through(api, query, limit)

    rows, more = ask(address(tenant, mode), work)
    show(grouped(rows), _COLUMNS, output, "No dead deliveries match.", _WIDE)
    if more and output is not OutputFormat.json:
        print(f"There are more: these are the newest {limit} (--limit).")


@app.command("redrive")
@uses_api
def redrive(
    endpoint: EndpointOption = None,
    event: EventOption = None,
    type_: TypeOption = None,
    status: StatusOption = None,
    result: ResultOption = None,
    since: DeliverySinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of deliveries, newest first.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be delivered; deliver nothing.")] = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Deliver dead deliveries again. They keep their ids, and the numbers of attempts continue.

    Examples:
        hookstream dead redrive --endpoint ep_5f0c83a1d27e49b6a3c81f04 --since 1d --dry-run
        hookstream dead redrive --status 5xx --since 2h
    """
    body = _chosen(filter_of(endpoint, event, type_, status, result, since, until))
    show_retried(retry_matching(address(tenant, mode), body | {"state": ["dead"], "dry_run": dry_run}, limit), output)


@app.command("discard")
@uses_api
def discard(
    endpoint: EndpointOption = None,
    event: EventOption = None,
    type_: TypeOption = None,
    status: StatusOption = None,
    result: ResultOption = None,
    since: DeliverySinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of deliveries, newest first.")] = 1000,
    why: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why they are not needed, for the audit log. Required.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be discarded; discard nothing.")] = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Discard dead deliveries: they end as cancelled, leave the lists of dead letters, and stay readable.

    The audit log has an entry with the key that asked, the filter, the number and the reason. A discarded delivery can
    still be retried by its id. One that blocks its ordering key is skipped.

    Examples:
        hookstream dead discard --endpoint ep_5f0c83a1d27e49b6a3c81f04 --until 1d --dry-run
        hookstream dead discard --type 'test.*' --since begin --why 'events of a load test'
    """
    body = _chosen(filter_of(endpoint, event, type_, status, result, since, until))
    if not dry_run and why is None:
        raise typer.BadParameter("--why TEXT is missing: the audit log records it")
    where = address(tenant, mode)
    answer = ask(where, lambda api: _discard(api, only_given({"why": why}) | body | {"dry_run": dry_run}, limit))
    if output is OutputFormat.json:
        show_one(answer, output)
    elif dry_run:
        print(f"{answer['matched']}{' at least' if answer['matched_more'] else ''} would be discarded.")
    else:
        print(f"{answer['discarded']} are discarded.")
        if answer["next_cursor"] is not None:
            print("There are more (--limit).")


def _chosen(body: dict[str, Any]) -> dict[str, Any]:
    """The filter, which may not be empty by mistake."""
    if not body:
        raise typer.BadParameter("choose with --endpoint, --since …; --since begin means all")
    return body


async def _discard(api: ApiClient, body: dict[str, Any], limit: int) -> dict[str, Any]:
    """Discard, or count, at most `limit` deliveries of a filter, in as many requests as that takes."""
    done = 0
    while True:
        part: dict[str, Any] = await api.post(
            "deliveries", "discard", body=body | {"limit": min(limit - done, MOST_AT_ONCE)}
        )
        done += part["discarded"]
        if part["next_cursor"] is None or done >= limit:
            return part | {"discarded": done}
        body = body | {"cursor": part["next_cursor"]}


def grouped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each endpoint and last outcome, the largest first."""
    groups: dict[tuple[str, Any], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["endpoint"], row["status"] or row["result"]), []).append(row)
    counted = []
    for (endpoint, last), members in groups.items():
        times = sorted(each["created_at"] for each in members)
        types = sorted({each["event_type"] for each in members})
        counted.append(
            {
                "count": len(members),
                "endpoint": endpoint,
                "last": last,
                "oldest": times[0],
                "newest": times[-1],
                "types": types[:_TYPES] + (["…"] if len(types) > _TYPES else []),
                "example": members[0]["id"],
            }
        )
    return sorted(counted, key=lambda each: (-each["count"], each["endpoint"]))
