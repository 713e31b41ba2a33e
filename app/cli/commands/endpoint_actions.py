"""`hookstream endpoints test|preview|pause|resume|enable|disable|verify|rotate-secret|rotate-key|recover`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.commands.endpoints import EndpointIdArgument
from app.cli.connect import completion, process_context
from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.api_target import ApiTarget
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal.inputs import WHY_FILE, json_of, list_of, only_given, secret_of
from app.cli.terminal.output import OutputFormat, OutputOption, remind_to_store, show_one
from app.core.exit_codes import ExitCode

app = typer.Typer()

_SHOWN = 1000


@app.command("test")
@uses_api
def test(
    endpoint_id: EndpointIdArgument,
    event_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            help="Event type. Default: the first one that the endpoint subscribes to.",
            autocompletion=completion.event_types,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The event's data: JSON, or @FILE (@- = stdin). Default: the catalogue's example."),
    ] = None,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Send a test event at once, past all queues, and say what the receiver did. Exit code 1 when it was no 2xx.

    Example:
        hookstream endpoints test ep_5f0c83a1d27e49b6a3c81f04 --type user.created
    """
    body = only_given({"type": event_type, "data": json_of("--data", data) if data is not None else None})
    outcome: dict[str, Any] = ask(
        address(tenant, mode), lambda api: api.post("webhooks", endpoint_id, "test", body=body or None)
    )
    if output is OutputFormat.json:
        show_one(outcome, output)
    else:
        _tell(outcome)
    raise typer.Exit(ExitCode.DONE if outcome.get("ok") else ExitCode.FAILED)


def _tell(outcome: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    mark = "[green]delivered[/]" if outcome.get("ok") else "[red]failed[/]"
    status = outcome.get("status")
    console.print(f"{mark}  {status if status is not None else 'no answer'}  {outcome.get('time_ms', 0):.0f} ms")
    for name in ("result", "reason", "event_id"):
        if outcome.get(name):
            console.print(f"{name:<9} {escape(str(outcome[name]))}")
    timing = outcome.get("timing") or {}
    console.print("timing    " + ", ".join(f"{name} {value:.0f} ms" for name, value in timing.items()))
    if outcome.get("body"):
        console.print(f"body      {escape(outcome['body'][:_SHOWN])}")


@app.command("preview")
@uses_api
def preview(
    endpoint_id: EndpointIdArgument,
    event: Annotated[
        str | None,
        typer.Option(help="An event, as in events.raw: JSON, or @FILE (@- = stdin). Default: the newest one."),
    ] = None,
    event_id: Annotated[str | None, typer.Option(help="The id of an event that Kafka still has.")] = None,
    event_type: Annotated[
        str | None,
        typer.Option("--type", help="The newest event of this type.", autocompletion=completion.event_types),
    ] = None,
    envelope: Annotated[str | None, typer.Option(help="Try this in place of the endpoint's envelope.")] = None,
    include_fields: Annotated[
        str | None, typer.Option(help="Try these in place of the endpoint's fields, comma-separated.")
    ] = None,
    transform: Annotated[str | None, typer.Option(help="Try this in place of the endpoint's transform.")] = None,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show the request that would be sent for an event, without sending it. Exit code 1 when nothing would be sent.

    Example:
        hookstream endpoints preview ep_5f0c83a1d27e49b6a3c81f04 --transform '{total: data.total}'
    """
    body = only_given(
        {
            "event": json_of("--event", event) if event is not None else None,
            "event_id": event_id,
            "type": event_type,
            "envelope": envelope,
            "include_fields": list_of(include_fields) if include_fields is not None else None,
            "transform": transform,
        }
    )
    shown: dict[str, Any] = ask(
        address(tenant, mode), lambda api: api.post("webhooks", endpoint_id, "preview", body=body or None)
    )
    if output is OutputFormat.json:
        show_one(shown, output)
    elif shown["error"] is not None:
        print(f"nothing would be sent: {shown['error']['reason']}: {shown['error']['detail']}")
    else:
        for name, value in shown["request"]["headers"].items():
            print(f"{name}: {value}")
        print(f"\n{shown['request']['body']}")
    raise typer.Exit(ExitCode.DONE if shown["error"] is None else ExitCode.FAILED)


@app.command("pause")
@uses_api
def pause(
    endpoint_id: EndpointIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Pause an endpoint. Its deliveries are parked, and delivered on `resume`.

    Example:
        hookstream endpoints pause ep_5f0c83a1d27e49b6a3c81f04 --tenant acme
    """
    _act(address(tenant, mode), endpoint_id, "pause", output)


@app.command("resume")
@uses_api
def resume(
    endpoint_id: EndpointIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Resume a paused endpoint, starting with its parked deliveries.

    Example:
        hookstream endpoints resume ep_5f0c83a1d27e49b6a3c81f04 --tenant acme
    """
    _act(address(tenant, mode), endpoint_id, "resume", output)


@app.command("disable")
@uses_api
def disable(
    endpoint_id: EndpointIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Disable an endpoint. Events it misses can be delivered later with `enable`, then `recover`.

    Example:
        hookstream endpoints disable ep_5f0c83a1d27e49b6a3c81f04 --tenant acme
    """
    _act(address(tenant, mode), endpoint_id, "disable", output)


@app.command("enable")
@uses_api
def enable(
    endpoint_id: EndpointIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Enable a disabled endpoint: deliver events from now on.

    Example:
        hookstream endpoints enable ep_5f0c83a1d27e49b6a3c81f04 --tenant acme
    """
    _act(address(tenant, mode), endpoint_id, "enable", output)


@app.command("recover")
@uses_api
def recover(
    endpoint_id: EndpointIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Deliver what an endpoint missed while it was disabled, as a replay; `replay show ID` shows its progress.

    Example:
        hookstream endpoints recover ep_5f0c83a1d27e49b6a3c81f04 --tenant acme
    """
    _act(address(tenant, mode), endpoint_id, "recover", output)


@app.command("verify")
@uses_api
def verify(
    endpoint_id: EndpointIdArgument,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Ask the receiver of an unverified endpoint whether it agrees to deliveries. Exit code 1 if it does not.

    Example:
        hookstream endpoints verify ep_5f0c83a1d27e49b6a3c81f04 --tenant acme
    """
    outcome: dict[str, Any] = ask(address(tenant, mode), lambda api: api.post("webhooks", endpoint_id, "verify"))
    shown = {"agreed": outcome["agreed"], "result": outcome["result"], "reason": outcome["reason"]}
    show_one(outcome if output is OutputFormat.json else shown, output)
    raise typer.Exit(ExitCode.DONE if outcome["agreed"] else ExitCode.FAILED)


@app.command("rotate-secret")
@uses_api
def rotate_secret(
    endpoint_id: EndpointIdArgument,
    overlap: Annotated[
        int | None,
        typer.Option(help="Seconds for which the old secret also signs, 0 to 604800.", show_default="86400"),
    ] = None,
    secret: Annotated[
        str | None, typer.Option(help="The new signing secret. Default: a generated one. Prefer a file:")
    ] = None,
    secret_file: Annotated[
        str | None, typer.Option(metavar="FILE", help=f"File with the new secret {WHY_FILE}.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Stop signing, where the profile allows it.")] = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Replace the signing secret. The new one is shown once, now; the earlier one signs along for a day.

    Example:
        hookstream endpoints rotate-secret ep_5f0c83a1d27e49b6a3c81f04 --overlap 3600
    """
    plain = process_context.or_fail(lambda: secret_of("secret", secret, secret_file))
    if remove and plain is not None:
        raise typer.BadParameter("--remove and a new secret exclude each other")
    body = only_given({"secret": plain, "overlap": overlap, "remove": remove or None})
    rotated = ask(address(tenant, mode), lambda api: api.post("webhooks", endpoint_id, "rotate-secret", body=body))
    show_one(rotated, output)
    if rotated.get("secret") and output is not OutputFormat.json:
        remind_to_store("secret")


@app.command("rotate-key")
@uses_api
def rotate_key(
    endpoint_id: EndpointIdArgument,
    overlap: Annotated[
        int | None,
        typer.Option(help="Seconds for which the old key also signs, 0 to 604800.", show_default="86400"),
    ] = None,
    signing_key_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with the new private key, whsk_… (- = stdin).")
    ] = None,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Replace the Ed25519 key of v1a signatures, or make the first one. The earlier one signs along for a day.

    Example:
        hookstream endpoints rotate-key ep_5f0c83a1d27e49b6a3c81f04 --overlap 3600
    """
    private = process_context.or_fail(lambda: secret_of("signing-key", None, signing_key_file))
    body = only_given({"signing_key": private, "overlap": overlap})
    where = address(tenant, mode)
    show_one(ask(where, lambda api: api.post("webhooks", endpoint_id, "rotate-signing-key", body=body)), output)


def _act(target: ApiTarget, endpoint_id: str, action: str, output: OutputFormat) -> None:
    show_one(ask(target, lambda api: api.post("webhooks", endpoint_id, action)), output)
