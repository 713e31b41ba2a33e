"""`hookstream endpoints add|list|show|update|remove`: register receivers and change them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.connect import completion, process_context
from app.cli.connect.api_connection import api_or_kafka, ask, flags, redirect_url, uses_api
from app.cli.connect.api_target import ApiTarget
from app.cli.connect.endpoint_options import CLEARABLE, cleared, takes_settings
from app.cli.terminal.inputs import WHY_FILE, only_given, secret_of
from app.cli.terminal.output import OutputFormat, OutputOption, remind_to_store, show, show_one
from app.core.errors import ConfigError
from app.profiles.catalog import PROFILES

app = typer.Typer(
    no_args_is_help=True,
    help="Create, change and test endpoints: the URLs that receive events.\n\n"
    "add, list, show, update and remove also go over Kafka "
    "itself, where neither --url nor a context names an API; the other commands need the API.",
)

EndpointIdArgument = Annotated[str, typer.Argument(help="The endpoint's id (ep_…) or uid.")]
EndpointTenantOption = Annotated[
    str | None,
    typer.Option(
        help="The endpoint's tenant (over Kafka only; an API key implies its tenant).", show_default="default"
    ),
]
EndpointModeOption = Annotated[
    str | None,
    typer.Option(
        help="live or test; events of one mode never reach endpoints of the other (over Kafka only).",
        show_default="live",
        autocompletion=completion.modes,
    ),
]
WireFormatOption = Annotated[
    str | None,
    typer.Option(
        help=f"Wire format: {', '.join(PROFILES)}. Default: tenant's.", autocompletion=completion.wire_formats
    ),
]
SecretOption = Annotated[str | None, typer.Option(help="Signing secret. Default: a generated one. Prefer a file:")]
SecretFileOption = Annotated[str | None, typer.Option(metavar="FILE", help=f"File with the signing secret {WHY_FILE}.")]
_COLUMNS = ("id", "status", "url")
_WIDE = ("uid", "mode", "profile", "events")


@app.command("add")
@uses_api
@takes_settings(leave_out=("url",))
def add(
    url: Annotated[str, typer.Argument(help="The URL that receives events: https://…; --kind pull has none")] = "",
    tenant: EndpointTenantOption = None,
    mode: EndpointModeOption = None,
    profile: WireFormatOption = None,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    no_secret: Annotated[bool, typer.Option("--no-secret", help="Do not sign (where the profile allows it).")] = False,
    output: OutputOption = OutputFormat.table,
    *,
    settings: dict[str, Any],
) -> None:
    """Register an endpoint. Its signing secret is shown once, now.

    Examples:
        hookstream endpoints add https://example.com/hooks --events 'user.*'
        hookstream endpoints add --kind pull --events 'user.*'
    """
    if not url and settings.get("kind") != "pull":
        raise typer.BadParameter("name the URL that receives events, or --kind pull", param_hint="URL")
    address = api_or_kafka()
    fields = {"url": url, "events": ("*",)} | settings | only_given({"profile": profile})
    plain = process_context.or_fail(lambda: secret_of("secret", secret, secret_file))
    if address is None:
        from app.cli.connect import endpoints_over_kafka

        whose = {"tenant": tenant or "default", "mode": mode or "live"}
        work = endpoints_over_kafka.create(fields | whose, plain, unsigned=no_secret)
        _show_created(process_context.run(work), output)
    else:
        _only_the_keys_own(address, tenant, mode)
        body = fields | only_given({"secret": plain, "unsigned": no_secret or None})
        created = ask(address, lambda api: api.post("webhooks", body=body))
        _show_created(created, output)


@app.command("list")
@uses_api
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant (over Kafka).")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Only of this mode (over Kafka).", autocompletion=completion.modes)
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            help="Only endpoints with this status: active, paused or disabled.", autocompletion=completion.statuses
        ),
    ] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show all endpoints: of the key's tenant and mode, or over Kafka those of everybody.

    Examples:
        hookstream endpoints list
        hookstream endpoints list --status disabled -o json
    """
    address = api_or_kafka()
    if address is None:
        from app.cli.connect import endpoints_over_kafka

        endpoints = process_context.run(endpoints_over_kafka.all_of(tenant, mode))
        endpoints = [each for each in endpoints if status in (None, each["status"])]
    else:
        _only_the_keys_own(address, tenant, mode)
        query = only_given({"status": status})
        endpoints = ask(address, lambda api: api.all("webhooks", query=query))
    columns = _COLUMNS if address is not None or tenant is not None else (*_COLUMNS, "tenant")
    filtered = tenant is not None or mode is not None or status is not None
    empty = "No endpoint matches." if filtered else "No endpoints yet: hookstream endpoints add URL --events '*'"
    show(endpoints, columns, output, empty, _WIDE)


@app.command("show")
@uses_api
def show_command(endpoint_id: EndpointIdArgument, output: OutputOption = OutputFormat.table) -> None:
    """Show one endpoint.

    Example:
        hookstream endpoints show ep_5f0c83a1d27e49b6a3c81f04
    """
    address = api_or_kafka()
    if address is None:
        from app.cli.connect import endpoints_over_kafka

        show_one(process_context.run(endpoints_over_kafka.one(endpoint_id)), output)
    else:
        show_one(ask(address, lambda api: api.get("webhooks", endpoint_id)), output)


@app.command("update")
@uses_api
@takes_settings()
def update(
    endpoint_id: EndpointIdArgument,
    status: Annotated[
        str | None,
        typer.Option(help="active or disabled (to pause: `endpoints pause`).", autocompletion=completion.statuses),
    ] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(help=f"Restore the default of {', '.join(CLEARABLE[:-1])} or {CLEARABLE[-1]}. Repeatable."),
    ] = None,
    expect_version: Annotated[int | None, typer.Option(help="Fail if the endpoint has another version by now.")] = None,
    output: OutputOption = OutputFormat.table,
    *,
    settings: dict[str, Any],
) -> None:
    """Change the named fields of an endpoint.

    Examples:
        hookstream endpoints update ep_5f0c83a1d27e49b6a3c81f04 --timeout 10
        hookstream endpoints update ep_5f0c83a1d27e49b6a3c81f04 --clear schedule
    """
    options = flags()
    if options.url and not options.has_key and options.context is None:
        if "url" in settings:
            raise typer.BadParameter(
                "--url: without --key-file, --key or --context it is the endpoint's, as --new-url is"
            )
        settings["url"] = redirect_url()
    changes = settings | only_given({"status": status}) | cleared(clear or [])
    if not changes:
        raise typer.BadParameter("name at least one field to change (its URL: --new-url)")
    show_one(_changed(endpoint_id, changes, expect_version), output)


def _changed(endpoint_id: str, changes: dict[str, Any], expect_version: int | None) -> dict[str, Any]:
    address = api_or_kafka()
    if address is None:
        from app.cli.connect import endpoints_over_kafka

        return process_context.run(endpoints_over_kafka.change(endpoint_id, changes, expect_version))
    status = changes.pop("status", None)
    if status not in (None, "active", "disabled"):
        raise typer.BadParameter("--status: active or disabled; to hold back what comes, use `endpoints pause`")
    if status is not None:
        changes["active"] = status == "active"
    shown: dict[str, Any] = ask(
        address, lambda api: api.patch("webhooks", endpoint_id, body=changes, expect_version=expect_version)
    )
    return shown


@app.command("remove")
@uses_api
def remove(endpoint_id: EndpointIdArgument, output: OutputOption = OutputFormat.table) -> None:
    """Delete an endpoint and cancel its open deliveries.

    Example:
        hookstream endpoints remove ep_5f0c83a1d27e49b6a3c81f04
    """
    address = api_or_kafka()
    if address is None:
        from app.cli.connect import endpoints_over_kafka

        process_context.run(endpoints_over_kafka.remove(endpoint_id))
    else:
        ask(address, lambda api: api.delete("webhooks", endpoint_id))
    show_one({"id": endpoint_id, "removed": True}, output)


def _show_created(created: dict[str, Any], output: OutputFormat) -> None:
    """Show a new endpoint: what its owner needs now, or everything as JSON."""
    if output is OutputFormat.json:
        show_one(created, output)
        return
    needed = {name: created[name] for name in ("id", "url", "events", "profile") if name in created}
    secret = created.get("secret")
    show_one(needed | {"secret": secret or created.get("secret_hint") or "none: requests are not signed"}, output)
    if secret:
        remind_to_store("secret")


def _only_the_keys_own(address: ApiTarget, tenant: str | None, mode: str | None) -> None:
    """A key belongs to one tenant and mode: what it cannot reach is refused instead of ignored."""
    process_context.or_fail(lambda: check_reach(address, tenant, mode))


def check_reach(address: ApiTarget, tenant: str | None, mode: str | None) -> None:
    """Raise `ConfigError` if the key has another mode, or if a tenant is named."""
    problems = []
    if tenant is not None:
        problems.append(
            "--tenant is for Kafka: a key of the API belongs to one tenant. Leave it out, or use another key."
        )
    token = address.token.reveal()
    if mode is not None and token.startswith("sk_") and not token.startswith(f"sk_{mode}_"):
        problems.append(f"--mode {mode}: the key is of the other mode. Leave it out, or use another key.")
    if problems:
        raise ConfigError(problems)
