"""`hookstream endpoints add|list|show|update|remove`: register receivers and change them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli.connect import completion, endpoints_over_kafka, process_context
from app.cli.connect.api_connection import api_or_kafka, ask, flags, redirect_url, uses_api
from app.cli.connect.api_target import ApiTarget
from app.cli.terminal.inputs import WHY_FILE, list_of, only_given, pairs_of, seconds_of, secret_of
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one
from app.core.errors import ConfigError
from app.profiles.catalog import PROFILES

app = typer.Typer(
    no_args_is_help=True,
    help="Create, change and test endpoints: the URLs that receive events.\n\n"
    "add, list, show, update and remove also go over Kafka "
    "itself, where neither --url nor a profile names an API; the other commands need the API.",
)

EndpointIdArgument = Annotated[str, typer.Argument(help="The endpoint's id (ep_…).")]
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
EventsOption = Annotated[
    str,
    typer.Option(
        help="Event types to subscribe to, comma-separated: exact, `*`, or a prefix such as `recording.*`.",
        autocompletion=completion.event_patterns,
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
HeaderOption = Annotated[list[str] | None, typer.Option(help="Header of every request: 'Name: value'. Repeatable.")]
LabelOption = Annotated[
    list[str] | None, typer.Option(help="Metadata, never sent to the receiver: name=value. Repeatable.")
]
ScheduleOption = Annotated[str | None, typer.Option(help="Seconds before attempt 1, 2, …, for example 0,5,60.")]
TimeoutOption = Annotated[float | None, typer.Option(help="Seconds for one request. Default: the profile's.")]
RateLimitOption = Annotated[float | None, typer.Option(help="Maximum requests per second.")]
InFlightOption = Annotated[int | None, typer.Option(help="Maximum concurrent requests.")]
AfterFailuresOption = Annotated[
    int | None, typer.Option(help="Disable after this many consecutive failures; 0: never.")
]
AfterDaysOption = Annotated[
    float | None, typer.Option(help="Disable after this many days of failures without a success; 0: never.")
]
SignatureOption = Annotated[
    str | None,
    typer.Option(
        help="Sign as this profile does, instead of the endpoint's own.", autocompletion=completion.wire_formats
    ),
]
_COLUMNS = ("id", "tenant", "mode", "status", "profile", "events", "url")
_CLEARABLE = (
    "schedule",
    "timeout",
    "rate_limit",
    "max_in_flight",
    "signature",
    "disable_after_failures",
    "disable_after_days",
)


@app.command("add")
@uses_api
def add(
    url: Annotated[str, typer.Argument(help="The URL that receives events: https://…")],
    tenant: EndpointTenantOption = None,
    mode: EndpointModeOption = None,
    profile: WireFormatOption = None,
    events: EventsOption = "*",
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    no_secret: Annotated[bool, typer.Option("--no-secret", help="Do not sign (where the profile allows it).")] = False,
    signature: SignatureOption = None,
    ordering: Annotated[
        str, typer.Option(help="none, or fifo: one delivery per ordering key at a time, in order.")
    ] = "none",
    description: Annotated[str, typer.Option(help="Free text shown in lists; never sent to the receiver.")] = "",
    header: HeaderOption = None,
    label: LabelOption = None,
    schedule: ScheduleOption = None,
    timeout: TimeoutOption = None,
    rate_limit: RateLimitOption = None,
    max_in_flight: InFlightOption = None,
    disable_after_failures: AfterFailuresOption = None,
    disable_after_days: AfterDaysOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Register an endpoint. Its signing secret is shown once, now."""
    address = api_or_kafka()
    fields: dict[str, Any] = {
        "url": url,
        "events": list_of(events),
        "profile": profile,
        "signature": signature,
        "description": description,
        "headers": pairs_of("header", header or [], ":"),
        "metadata": pairs_of("label", label or [], "="),
        "schedule": seconds_of(schedule),
        "timeout": timeout,
        "rate_limit": rate_limit,
        "max_in_flight": max_in_flight,
        "disable_after_failures": disable_after_failures,
        "disable_after_days": disable_after_days,
        "ordering": ordering,
    }
    plain = process_context.or_fail(lambda: secret_of("secret", secret, secret_file))
    if address is None:
        whose = {"tenant": tenant or "default", "mode": mode or "live"}
        work = endpoints_over_kafka.create(fields | whose, plain, unsigned=no_secret)
        show_one(process_context.run(work), output)
    else:
        _only_the_keys_own(address, tenant, mode)
        body = only_given(fields | {"secret": plain, "unsigned": no_secret or None})
        show_one(ask(address, lambda api: api.post("webhooks", body=body)), output)


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
    """Show all endpoints: of the key's tenant and mode, or over Kafka those of everybody."""
    address = api_or_kafka()
    if address is None:
        found = process_context.run(endpoints_over_kafka.all_of(tenant, mode))
        found = [each for each in found if status in (None, each["status"])]
    else:
        _only_the_keys_own(address, tenant, mode)
        query = only_given({"status": status})
        found = ask(address, lambda api: api.all("webhooks", query=query))
    columns = _COLUMNS if address is None else tuple(name for name in _COLUMNS if name != "tenant")
    show(found, columns, output, "No endpoints yet: hookstream endpoints add URL --events '*'")


@app.command("show")
@uses_api
def show_command(endpoint_id: EndpointIdArgument, output: OutputOption = OutputFormat.table) -> None:
    """Show one endpoint."""
    address = api_or_kafka()
    if address is None:
        show_one(process_context.run(endpoints_over_kafka.one(endpoint_id)), output)
    else:
        show_one(ask(address, lambda api: api.get("webhooks", endpoint_id)), output)


@app.command("update")
@uses_api
def update(
    endpoint_id: EndpointIdArgument,
    new_url: Annotated[
        str | None,
        typer.Option(help="The new URL. (--url means the same if neither a key nor --as is given.)"),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(help="Event types to subscribe to, comma-separated.", autocompletion=completion.event_patterns),
    ] = None,
    description: Annotated[
        str | None, typer.Option(help="Free text shown in lists; never sent to the receiver.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(help="active or disabled (to pause: `endpoints pause`).", autocompletion=completion.statuses),
    ] = None,
    signature: SignatureOption = None,
    header: Annotated[list[str] | None, typer.Option(help="Replace all headers: 'Name: value'. Repeatable.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Replace all labels: name=value. Repeatable.")] = None,
    schedule: ScheduleOption = None,
    timeout: TimeoutOption = None,
    rate_limit: RateLimitOption = None,
    max_in_flight: InFlightOption = None,
    disable_after_failures: AfterFailuresOption = None,
    disable_after_days: AfterDaysOption = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(
            help="Restore the default of: schedule, timeout, rate-limit, max-in-flight, signature, "
            "disable-after-failures, disable-after-days. Repeatable."
        ),
    ] = None,
    expect_version: Annotated[int | None, typer.Option(help="Fail if the endpoint has another version by now.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Change the named fields of an endpoint."""
    said = flags()
    if said.url and not said.has_key and said.profile is None:
        if new_url is not None:
            raise typer.BadParameter("--url: without --key-file, --key or --as it is the endpoint's, as --new-url is")
        new_url = redirect_url()
    changes = only_given(
        {
            "url": new_url,
            "events": list_of(events) if events is not None else None,
            "description": description,
            "status": status,
            "signature": signature,
            "headers": pairs_of("header", header, ":") if header else None,
            "metadata": pairs_of("label", label, "=") if label else None,
            "schedule": seconds_of(schedule),
            "timeout": timeout,
            "rate_limit": rate_limit,
            "max_in_flight": max_in_flight,
            "disable_after_failures": disable_after_failures,
            "disable_after_days": disable_after_days,
        }
    ) | _cleared(clear or [])
    if not changes:
        raise typer.BadParameter("name at least one field to change (its URL: --new-url)")
    show_one(_changed(endpoint_id, changes, expect_version), output)


def _changed(endpoint_id: str, changes: dict[str, Any], expect_version: int | None) -> dict[str, Any]:
    address = api_or_kafka()
    if address is None:
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
    """Delete an endpoint and cancel its open deliveries."""
    address = api_or_kafka()
    if address is None:
        process_context.run(endpoints_over_kafka.remove(endpoint_id))
    else:
        ask(address, lambda api: api.delete("webhooks", endpoint_id))
    show_one({"id": endpoint_id, "removed": True}, output)


def _cleared(names: list[str]) -> dict[str, None]:
    cleared = [name.replace("-", "_") for name in names]
    for name in cleared:
        if name not in _CLEARABLE:
            raise typer.BadParameter(f"--clear {name}: one of {', '.join(_CLEARABLE)}")
    return dict.fromkeys(cleared)


def _only_the_keys_own(address: ApiTarget, tenant: str | None, mode: str | None) -> None:
    """A key belongs to one tenant and mode: what it cannot reach is refused instead of ignored."""
    process_context.or_fail(lambda: check_reach(address, tenant, mode))


def check_reach(address: ApiTarget, tenant: str | None, mode: str | None) -> None:
    """Raises `ConfigError` when the key is not of that mode, or a tenant is named at all."""
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
