"""`hookstream deliveries`: list and show deliveries with their attempts; retry and cancel them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connect import completion
from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.api_target import ApiTarget
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal.inputs import list_of, only_given
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

app = typer.Typer(
    no_args_is_help=True,
    help="List, explain, retry and cancel deliveries: one for each event and matching endpoint (through the API).\n\n"
    "What fails?  hookstream deliveries list --state dead,retrying --since 1h\n\n"
    "Why?  hookstream deliveries show dlv_…  says it in words, and what to do about it.\n\n"
    "Mended?  hookstream deliveries retry --endpoint ep_… --since 1d --dry-run  counts, without --dry-run it retries.",
)

DeliveryIdArgument = Annotated[str, typer.Argument(help="The delivery's id (dlv_…).")]
EndpointOption = Annotated[str | None, typer.Option(metavar="ID", help="Only deliveries to this endpoint (id or uid).")]
EventOption = Annotated[str | None, typer.Option(metavar="ID", help="Only deliveries of this event.")]
TypeOption = Annotated[
    str | None, typer.Option("--type", help="Only this event type: a.b, a.*", autocompletion=completion.event_types)
]
StatusOption = Annotated[
    str | None, typer.Option(metavar="CODE", help="HTTP status of the last attempt, or its class: 503, 5xx.")
]
ResultOption = Annotated[
    str | None, typer.Option(metavar="WORD", help="Outcome of the last attempt: timeout, refused, dns, tls, http_5xx …")
]
DeliverySinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Only events accepted since then: ISO 8601 with a time zone, or 90s, 2h, 3d ago."
    ),
]
UntilOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only events accepted before then, in the same form.")
]
ReplayOption = Annotated[str | None, typer.Option(metavar="ID", help="Only deliveries created by this replay.")]
_COLUMNS = ("id", "type", "state", "last")
_WIDE = ("attempts", "accepted", "endpoint", "event_id")
_PAGE = 100
#: deliveries of one request for many
MOST_AT_ONCE = 1000


@app.command("list")
@uses_api
def list_(
    endpoint: EndpointOption = None,
    event: EventOption = None,
    type_: TypeOption = None,
    state: Annotated[
        str | None,
        typer.Option(help="Comma-separated: pending, retrying, delivered, dead, cancelled, paused."),
    ] = None,
    status: StatusOption = None,
    result: ResultOption = None,
    since: DeliverySinceOption = None,
    until: UntilOption = None,
    replay: ReplayOption = None,
    any_id: Annotated[str | None, typer.Option("--id", help="The id of a delivery or an event.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of entries, newest first.")] = 50,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show deliveries, newest first.

    Examples:
        hookstream deliveries list --state dead,retrying --since 1h
        hookstream deliveries list --tenant acme --status 5xx
    """
    query = filter_of(endpoint, event, type_, status, result, since, until, state=state, replay=replay, id=any_id)
    rows, more = ask(address(tenant, mode), lambda api: page_through(api, query, limit))
    if output is OutputFormat.json:
        show(rows, (), output, "")
        return
    show([_row(each) for each in rows], _COLUMNS, output, "No deliveries match.", _WIDE)
    if more:
        print(f"There are more: these are the newest {limit} (--limit).")


@app.command("show")
@uses_api
def show_command(
    delivery_id: DeliveryIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show a delivery: every attempt, why it failed and what to do about it, the request and the answer.

    Example:
        hookstream deliveries show dlv_q4w7ez2mxn5rkb3vtdc6ujyh
    """
    delivery = ask(address(tenant, mode), lambda api: api.get("deliveries", delivery_id))
    if output is OutputFormat.json:
        show_one(delivery, output)
    else:
        from app.cli.terminal import delivery_view

        delivery_view.show(delivery)


@app.command("retry")
@uses_api
def retry(
    delivery_id: Annotated[
        str | None, typer.Argument(help="The delivery's id (dlv_…). Default: all deliveries that match the options.")
    ] = None,
    endpoint: EndpointOption = None,
    event: EventOption = None,
    type_: TypeOption = None,
    state: Annotated[
        str, typer.Option(help="Without an id: states, comma-separated: dead, retrying, pending, cancelled, delivered.")
    ] = "dead",
    status: StatusOption = None,
    result: ResultOption = None,
    since: DeliverySinceOption = None,
    until: UntilOption = None,
    replay: ReplayOption = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Without an id: maximum number of deliveries, newest first.")
    ] = MOST_AT_ONCE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be retried; retry nothing.")] = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Retry deliveries at once: one by its id, or all that match.

    The delivery and the event keep their ids, and the numbers of attempts continue. A delivery named by its id may have
    any state: a waiting one is attempted now, and a delivered one is sent again.

    Examples:
        hookstream deliveries retry dlv_q4w7ez2mxn5rkb3vtdc6ujyh
        hookstream deliveries retry --status 5xx --since 1d --dry-run
    """
    body = filter_of(endpoint, event, type_, status, result, since, until, replay=replay)
    where = address(tenant, mode)
    if delivery_id is not None:
        if body or dry_run:
            raise typer.BadParameter("a delivery's id, or options that choose many: not both")
        show_one(ask(where, lambda api: api.post("deliveries", delivery_id, "retry")), output)
        return
    if not body:
        raise typer.BadParameter("name a delivery, or choose with --endpoint, --since …; --since begin means all")
    body |= {"state": list(list_of(state)), "dry_run": dry_run}
    show_retried(retry_matching(where, body, limit), output)


@app.command("cancel")
@uses_api
def cancel(
    delivery_id: DeliveryIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Cancel a delivery that waits for its next attempt. A request in flight is not aborted.

    Example:
        hookstream deliveries cancel dlv_q4w7ez2mxn5rkb3vtdc6ujyh
    """
    show_one(ask(address(tenant, mode), lambda api: api.post("deliveries", delivery_id, "cancel")), output)


def _row(delivery: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": delivery["id"],
        "type": delivery["event_type"],
        "state": delivery["state"],
        "attempts": delivery["attempt_count"],
        "last": delivery["status"] or delivery["result"],
        "accepted": delivery["created_at"][:19].replace("T", " "),
        "endpoint": delivery["endpoint"],
        "event_id": delivery["event_id"],
    }


def filter_of(
    endpoint: str | None,
    event: str | None,
    type_: str | None,
    status: str | None,
    result: str | None,
    since: str | None,
    until: str | None,
    **more: str | None,
) -> dict[str, Any]:
    """The filter of the API that the options given make; empty if none is given."""
    return only_given(
        {
            "endpoint": endpoint,
            "event": event,
            "type": type_,
            "status": status,
            "result": result,
            "since": since,
            "until": until,
            **more,
        }
    )


async def page_through(api: ApiClient, query: dict[str, str], limit: int) -> tuple[list[Any], bool]:
    """The newest `limit` deliveries of a query, and whether there are more."""
    rows: list[Any] = []
    cursor: dict[str, str] = {}
    while len(rows) < limit:
        asked = {**query, **cursor, "limit": str(min(_PAGE, limit - len(rows)))}
        page = await api.get("deliveries", query=asked)
        rows += page["data"]
        if page["next_cursor"] is None:
            return rows, False
        cursor = {"cursor": page["next_cursor"]}
    return rows, True


def retry_matching(where: ApiTarget, body: dict[str, Any], limit: int) -> dict[str, Any]:
    """Retry, or count, at most `limit` deliveries of a filter, in as many requests as that takes."""

    async def work(api: ApiClient) -> dict[str, Any]:
        whole: dict[str, Any] = {}
        left = limit
        while left > 0:
            part = await api.post("deliveries", "retry", body=body | {"limit": min(left, MOST_AT_ONCE)})
            whole = part if not whole else _sum(whole, part)
            left -= part["retried"] + sum(part["skipped"].values()) or left
            if part["next_cursor"] is None:
                break
            body["cursor"] = part["next_cursor"]
        return whole

    return ask(where, work)


def _sum(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    reasons = {*whole["skipped"], *part["skipped"]}
    skipped = {each: whole["skipped"].get(each, 0) + part["skipped"].get(each, 0) for each in reasons}
    return part | {"retried": whole["retried"] + part["retried"], "skipped": skipped}


def show_retried(answer: dict[str, Any], output: OutputFormat) -> None:
    """Print how many deliveries were retried, and how many were left out for each reason."""
    if output is OutputFormat.json:
        show_one(answer, output)
        return
    if answer["dry_run"]:
        more = " at least" if answer["matched_more"] else ""
        print(f"{answer['matched']}{more} would be retried.")
        return
    print(f"{answer['retried']} are retried.")
    for reason, number in sorted(answer["skipped"].items()):
        print(f"{number} are left out: {reason}")
    if answer["next_cursor"] is not None:
        print("There are more (--limit).")
