"""`hookstream endpoints`: register receivers and change them."""

from __future__ import annotations

import secrets as dice
from typing import Annotated, Any

import msgspec
import typer

from app.adapters.keyring import new_signing_secret
from app.cli import context
from app.cli.output import Format, Output, show, show_one
from app.cli.registry_session import Session, session
from app.core.commands import CreateEndpoint, RemoveEndpoint, UpdateEndpoint
from app.core.errors import CommandRefused, ConfigError
from app.core.model import Endpoint, SealedSecret
from app.profiles.catalog import PROFILES

app = typer.Typer(no_args_is_help=True, help="Register the receivers of events, and change them.")

Id = Annotated[str, typer.Argument(help="The endpoint's id (ep_…).")]
Events = Annotated[str, typer.Option(help="Types to subscribe to, comma-separated: exact, `*`, or `recording.*`.")]
Tenant = Annotated[str, typer.Option(help="Whose events it gets.")]
Mode = Annotated[str, typer.Option(help="live or test: two worlds that never mix.")]
_COLUMNS = ("id", "tenant", "mode", "status", "profile", "events", "url")


@app.command("add")
def add(
    url: Annotated[str, typer.Argument(help="Where to send: https://…")],
    tenant: Tenant = "default",
    mode: Mode = "live",
    profile: Annotated[str | None, typer.Option(help=f"Wire format: {', '.join(PROFILES)}. Default: tenant's.")] = None,
    events: Events = "*",
    secret: Annotated[str | None, typer.Option(help="Signing secret; one is made when left out.")] = None,
    no_secret: Annotated[bool, typer.Option("--no-secret", help="Do not sign (where the profile allows it).")] = False,
    ordering: Annotated[str, typer.Option(help="none; fifo is not available in this version.")] = "none",
    description: Annotated[str, typer.Option(help="For people.")] = "",
    header: Annotated[
        list[str] | None, typer.Option(help="Send with every request: 'Name: value'. Repeatable.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="Seconds before attempt 1, 2, …, for example 0,5,60.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one request. Default: the profile's.")] = None,
    rate_limit: Annotated[float | None, typer.Option(help="Requests per second.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="Requests in flight at once.")] = None,
    output: Output = Format.table,
) -> None:
    """Register an endpoint. Its signing secret is shown once, now."""

    async def work() -> dict[str, Any]:
        async with session() as registry:
            known = registry.directory.tenants.get(tenant)
            chosen = profile or (known.profile if known else "standard")
            plain = _secret(chosen, secret, no_secret)
            endpoint = Endpoint(
                id="ep_" + dice.token_hex(12),
                tenant=tenant,
                mode=mode,  # type: ignore[arg-type]  # checked below by convert
                url=url,
                events=_list(events),
                profile=chosen,
                description=description,
                headers=_headers(header or []),
                schedule_s=_schedule(schedule),
                timeout_s=timeout,
                rate_limit=rate_limit,
                max_in_flight=max_in_flight,
                ordering=ordering,  # type: ignore[arg-type]  # checked below by convert
            )
            endpoint = _sealed(_checked(endpoint), plain, registry)
            await registry.call(CreateEndpoint(endpoint), endpoint.id)
            stored = registry.directory.endpoint(endpoint.id) or endpoint
            return public(stored) | {"secret": plain}

    show_one(context.run(work()), output)


@app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    mode: Annotated[str | None, typer.Option(help="Only of this mode.")] = None,
    output: Output = Format.table,
) -> None:
    """Show all endpoints."""

    async def work() -> list[dict[str, Any]]:
        async with session() as registry:
            return [public(endpoint) for endpoint in registry.directory.endpoints(tenant, mode)]

    show(context.run(work()), _COLUMNS, output, "No endpoints yet: hookstream endpoints add URL --events '*'")


@app.command("show")
def show_command(endpoint_id: Id, output: Output = Format.table) -> None:
    """Show one endpoint."""

    async def work() -> dict[str, Any]:
        async with session() as registry:
            return public(_existing(registry, endpoint_id))

    show_one(context.run(work()), output)


@app.command("update")
def update(
    endpoint_id: Id,
    url: Annotated[str | None, typer.Option(help="Where to send.")] = None,
    events: Annotated[str | None, typer.Option(help="Types to subscribe to, comma-separated.")] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    status: Annotated[str | None, typer.Option(help="active, paused or disabled.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Seconds before attempt 1, 2, …")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds for one request.")] = None,
    rate_limit: Annotated[float | None, typer.Option(help="Requests per second.")] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="Requests in flight at once.")] = None,
    expect_version: Annotated[int | None, typer.Option(help="Refuse when somebody has changed it meanwhile.")] = None,
    output: Output = Format.table,
) -> None:
    """Change the named fields of an endpoint."""
    changes: dict[str, Any] = {
        "url": url,
        "events": _list(events) if events is not None else None,
        "description": description,
        "status": status,
        "schedule_s": _schedule(schedule),
        "timeout_s": timeout,
        "rate_limit": rate_limit,
        "max_in_flight": max_in_flight,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if not changes:
        raise typer.BadParameter("name at least one field to change")

    async def work() -> dict[str, Any]:
        async with session() as registry:
            await registry.call(UpdateEndpoint(endpoint_id, changes, expect_version), endpoint_id)
            return public(_existing(registry, endpoint_id))

    show_one(context.run(work()), output)


@app.command("remove")
def remove(endpoint_id: Id, output: Output = Format.table) -> None:
    """Remove an endpoint; its deliveries under way are cancelled."""

    async def work() -> dict[str, Any]:
        async with session() as registry:
            await registry.call(RemoveEndpoint(endpoint_id), endpoint_id)
            return {"id": endpoint_id, "removed": True}

    show_one(context.run(work()), output)


def public(endpoint: Endpoint) -> dict[str, Any]:
    """What may be shown of an endpoint: everything but its secrets."""
    shown: dict[str, Any] = {name: getattr(endpoint, name) for name in Endpoint.__struct_fields__ if name != "secrets"}
    return shown | {"events": list(endpoint.events), "signed": bool(endpoint.secrets)}


def _existing(registry: Session, endpoint_id: str) -> Endpoint:
    endpoint = registry.directory.endpoint(endpoint_id)
    if endpoint is None:
        raise CommandRefused("not_found", f"there is no endpoint {endpoint_id}")
    return endpoint


def _checked(endpoint: Endpoint) -> Endpoint:
    try:
        return msgspec.convert(msgspec.to_builtins(endpoint), Endpoint)
    except msgspec.ValidationError as error:
        raise CommandRefused("invalid", str(error)) from error


def _secret(profile: str, given: str | None, unsigned: bool) -> str | None:
    known = PROFILES.get(profile)
    if unsigned:
        if given is not None:
            raise CommandRefused("invalid", "--secret and --no-secret exclude each other")
        if known is not None and known.secret_required:
            raise CommandRefused("invalid", f"profile {profile} always signs")
        return None
    plain = given or new_signing_secret()
    if known is not None:
        try:
            known.key(plain)
        except ConfigError as error:
            raise CommandRefused("invalid", str(error)) from error
    return plain


def _sealed(endpoint: Endpoint, plain: str | None, registry: Session) -> Endpoint:
    if plain is None:
        return endpoint
    owner = f"{endpoint.tenant}/{endpoint.id}"
    sealed: SealedSecret = context.keyring(registry.settings).seal(plain, owner, registry.clock.now_ms())
    return msgspec.structs.replace(endpoint, secrets=(sealed,))


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _schedule(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter("schedule: seconds, comma-separated, for example 0,5,60") from error


def _headers(given: list[str]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon:
            raise typer.BadParameter(f"header {text!r}: write it as 'Name: value'")
        headers[name.strip()] = value.strip()
    return headers
