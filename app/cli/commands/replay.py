"""`hookstream replay`: deliver the events of a time range again, and follow the progress."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from app.adapters.clock import SystemClock
from app.cli.connect import completion, process_context
from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.api_target import ApiTarget
from app.cli.connect.tenant_options import ModeOption, TenantOption
from app.cli.connect.tenant_options import address as address_of
from app.cli.terminal import replay_progress
from app.cli.terminal.inputs import list_of, only_given
from app.cli.terminal.option_problems import sentence_of
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one
from app.core.errors import CommandRefused, ConfigError
from app.core.exit_codes import ExitCode
from app.core.model import timestamps

app = typer.Typer(
    no_args_is_help=True,
    help="Replay past events (through the API). `endpoints resume` and `endpoints recover` also start replays.",
)


class Only(StrEnum):
    """The value of `--only`."""

    all = "all"
    failed = "failed"
    missing = "missing"


ReplayIdArgument = Annotated[str, typer.Argument(help="The replay's id.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Show progress until the replay ends.")]


@app.command("start")
@uses_api
def start(
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="ISO 8601 with a time zone, an age (90s, 2h, 3d), or `begin`.")
    ],
    end: Annotated[
        str,
        typer.Option("--to", metavar="TIME", help="In the same form, or `now`: the time at which the replay starts."),
    ] = "now",
    endpoint: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this endpoint (id or uid). Default: all that match.")
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(help="Event types, comma-separated: a.b, a.*", autocompletion=completion.event_types),
    ] = None,
    only: Annotated[
        Only,
        typer.Option(
            help="all: every matching event; failed: deliveries that ended dead; missing: what was never handed to "
            "the endpoint, such as the time before it was added."
        ),
    ] = Only.all,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", help="Maximum deliveries per second.", show_default="no limit"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be delivered; deliver nothing.")] = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    wait: WaitOption = True,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Deliver the events of a span of time once more. Ctrl-C ends the waiting, not the replay.

    Examples:
        hookstream replay start --from 2h --only failed --dry-run
        hookstream replay start --from 1d --endpoint ep_5f0c83a1d27e49b6a3c81f04 --rate 50
    """
    try:
        timestamps.span(begin, end, SystemClock().now_ms())
    except timestamps.BadTimeRange as error:
        process_context.fail(ConfigError([f"--{error.field}: {error.detail}"]))
    body = only_given(
        {
            "from": begin,
            "to": end,
            "endpoint": endpoint,
            "types": list_of(types) if types else None,
            "only": only.value,
            "rate": rate,
            "dry_run": dry_run or None,
        }
    )
    address = address_of(tenant, mode)
    try:
        made = _asked(address, body)
    except CommandRefused as error:
        if error.code == "invalid":
            process_context.fail(ConfigError([sentence_of(error)]))
        process_context.fail(error)
    replay_progress.say(made)
    if dry_run:
        _show_counted(made, output)
    else:
        _follow(address, made, wait=wait, output=output)


@app.command("list")
@uses_api
def list_(tenant: TenantOption = None, mode: ModeOption = None, output: OutputOption = OutputFormat.table) -> None:
    """List the replays of a tenant and mode.

    Example:
        hookstream replay list --tenant acme
    """
    replays = ask(address_of(tenant, mode), lambda api: api.all("replays"))
    show(replays, ("id", "state", "sent", "created_at"), output, "No replays.", ("endpoint", "reason"))


@app.command("show")
@uses_api
def show_command(
    replay_id: ReplayIdArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show progress until the replay ends.")] = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show one replay: its state, and how many deliveries it has appended.

    Example:
        hookstream replay show rpl_k3v7m2qd5xw4ancz6tjh2reo --follow
    """
    address = address_of(tenant, mode)
    replay = ask(address, lambda api: api.get("replays", replay_id))
    _follow(address, replay, wait=follow, output=output)


@app.command("pause")
@uses_api
def pause(
    replay_id: ReplayIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Append nothing more of a replay until `replay resume`; what it has appended is delivered.

    Example:
        hookstream replay pause rpl_k3v7m2qd5xw4ancz6tjh2reo
    """
    _act(replay_id, "pause", address_of(tenant, mode), output)


@app.command("resume")
@uses_api
def resume(
    replay_id: ReplayIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Go on with a replay where it was paused.

    Example:
        hookstream replay resume rpl_k3v7m2qd5xw4ancz6tjh2reo
    """
    _act(replay_id, "resume", address_of(tenant, mode), output)


@app.command("cancel")
@uses_api
def cancel(
    replay_id: ReplayIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Append nothing more of a replay; what it has appended is delivered.

    Example:
        hookstream replay cancel rpl_k3v7m2qd5xw4ancz6tjh2reo
    """
    _act(replay_id, "cancel", address_of(tenant, mode), output)


def _asked(address: ApiTarget, body: dict[str, Any]) -> dict[str, Any]:
    """Query a replay. Raises `CommandRefused`, where `ask` would end the program."""
    refusal: list[CommandRefused] = []

    async def post(api: Any) -> dict[str, Any]:
        try:
            made: dict[str, Any] = await api.post("replays", body=body)
            return made
        except CommandRefused as error:
            refusal.append(error)
            return {}

    made = ask(address, post)
    if refusal:
        raise refusal[0]
    return made


def _act(replay_id: str, action: str, address: ApiTarget, output: OutputFormat) -> None:
    show_one(ask(address, lambda api: api.post("replays", replay_id, action)), output)


def _follow(address: ApiTarget, replay: dict[str, Any], *, wait: bool, output: OutputFormat) -> None:
    """Show a replay. Exits with 1 if it was cancelled."""
    if wait:
        try:
            replay = ask(address, lambda api: replay_progress.follow(api, replay, SystemClock()))
        except typer.Exit as end:
            if end.exit_code == ExitCode.INTERRUPTED:
                replay_progress.say_it_goes_on(replay["id"])
            raise
    show_one(replay, output)
    if wait and replay["state"] != "done":
        raise typer.Exit(ExitCode.FAILED)


def _show_counted(made: dict[str, Any], output: OutputFormat) -> None:
    if output is OutputFormat.json:
        show_one(made, output)
        return
    counted = made["counted"]
    rows = [{"endpoint": name, "deliveries": number} for name, number in counted["endpoints"].items()]
    show(rows, ("endpoint", "deliveries"), output, "Nothing would be delivered.")
    if counted["skipped"]:
        print(f"{counted['skipped']} for endpoints that are disabled would be left out.")
    if counted["filtered"]:
        print(f"{counted['filtered']} that the endpoints' filters refuse would be left out.")
