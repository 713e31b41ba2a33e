"""`hookstream stats`: success rates, counts and latencies, by hour."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal import output as out
from app.cli.terminal.inputs import only_given
from app.cli.terminal.output import OutputFormat, OutputOption

_COLUMNS = ("hour", "attempts", "success", "delivered", "dead", "ms 50/95/99 %")


@uses_api
def stats(
    endpoint: Annotated[
        str | None, typer.Argument(help="The endpoint's id (ep_…) or uid. Default: all endpoints.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601 with zone, or 90s, 2h, 3d ago.", show_default="24h")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="In the same form.", show_default="now")] = None,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show how deliveries went (through the API): attempts, success rate and latency, by hour and in all.

    success is the share of attempts that were answered with 2xx. 50, 95 and 99 % of the attempts took at most so many
    milliseconds, as good as a histogram tells. Hours are in UTC.

    Examples:
        hookstream stats --tenant acme --since 2h
        hookstream stats ep_5f0c83a1d27e49b6a3c81f04
    """
    path = ("stats",) if endpoint is None else ("webhooks", endpoint, "stats")
    query = only_given({"since": since, "until": until})
    stats = ask(address(tenant, mode), lambda api: api.get(*path, query=query))
    if output is OutputFormat.json:
        out.show_one(stats, output)
        return
    rows = [_row(each["begins_at"][5:16].replace("T", " "), each) for each in stats["hours"]]
    out.show([*rows, _row("in all", stats)] if rows else [], _COLUMNS, output, "Nothing was attempted in that time.")
    if stats["as_of"] is not None:
        print(f"As of {stats['as_of']}.")


def _row(name: str, counted: dict[str, Any]) -> dict[str, Any]:
    attempts, failed = counted["attempts"], counted["failed_attempts"]
    latency = [counted["latency_ms"][name] for name in ("p50", "p95", "p99")]
    return {
        "hour": name,
        "attempts": attempts,
        "success": f"{100 * (attempts - failed) / attempts:.2f} %" if attempts else "",
        "delivered": counted["delivered"],
        "dead": counted["dead"],
        "ms 50/95/99 %": " ".join(f"{each:.0f}" for each in latency if each is not None),
    }
