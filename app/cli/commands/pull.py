"""`hookstream pull`: print the events of a pull endpoint, and commit printed pages."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal.output import OutputFormat, OutputOption
from app.core.errors import Unavailable

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

#: seconds of one request, and before the first and the last of several tries to connect again
_WAIT_S, _AGAIN_S, _AGAIN_MOST_S = 30, 1.0, 30.0


@uses_api
def pull(
    endpoint: Annotated[str, typer.Argument(help="Id or uid of an endpoint with `kind: pull`.")],
    once: Annotated[bool, typer.Option("--once", help="End where there are no more events.")] = False,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Begin there. Default: behind the last commit.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="End after so many events.")] = None,
    commit: Annotated[
        bool, typer.Option("--commit/--no-commit", help="Commit each page when it is printed, or leave that to you.")
    ] = True,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.json,
) -> None:
    """Print the events of a pull endpoint as they come, one JSON object for each. Ctrl-C ends it.

    A page is committed when it is printed; events that were printed and not committed come again. A lost connection is
    renewed.

    Examples:
        hookstream pull customer-42 | ./handle-events
        hookstream pull customer-42 --once --no-commit | jq .body
    """
    where = address(tenant, mode)
    try:
        ask(where, lambda api: _pull(api, endpoint, cursor, limit, output, once=once, commits=commit))
    except BrokenPipeError:  # such as `| head`
        sys.stderr.close()


async def _pull(
    api: ApiClient,
    endpoint: str,
    cursor: str | None,
    limit: int | None,
    output: OutputFormat,
    *,
    once: bool,
    commits: bool,
) -> None:
    count, connected, committed = 0, False, cursor
    again_s = _AGAIN_S
    while limit is None or count < limit:
        query = {"limit": str(min(100, limit - count if limit is not None else 100))}
        query |= ({} if once else {"wait": str(_WAIT_S)}) | ({"cursor": cursor} if cursor is not None else {})
        try:
            page = await api.get("webhooks", endpoint, "events", query=query)
            _print(page, output)
            count += len(page["data"])
            cursor = page["cursor"]
            if commits and cursor != committed:  # also behind events of other endpoints
                await api.post("webhooks", endpoint, "events", "commit", body={"cursor": cursor})
                committed = cursor
        except Unavailable as error:
            if once or not connected:
                raise
            print(f"{str(error).splitlines()[0]} Connecting again in {again_s:.0f} s.", file=sys.stderr)
            await asyncio.sleep(again_s)
            again_s = min(2 * again_s, _AGAIN_MOST_S)
            continue
        connected, again_s = True, _AGAIN_S
        if once and not page["has_more"]:
            return


def _print(page: dict[str, Any], output: OutputFormat) -> None:
    if page["truncated"]:
        print("The log no longer has the events before the next one.", file=sys.stderr)
    for event in page["data"]:
        text = msgspec.json.encode(event if output is OutputFormat.json else event["body"]).decode()
        print(text if output is OutputFormat.json else f"{event['created_at']} {event['type']} {event['id']} {text}")
    sys.stdout.flush()
