"""`hookstream tenants`: register, list, change and remove tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from app.cli.connect import completion, process_context
from app.cli.connect.api_connection import api_or_kafka, ask, the_api, uses_api
from app.cli.terminal.inputs import only_given, pairs_of
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one
from app.core.errors import CommandRefused
from app.core.model.tenant import Tenant
from app.core.records.command import DeleteTenant, PutTenant

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

app = typer.Typer(
    no_args_is_help=True,
    help="Tenants: one for each of your customers, isolated from each other.\n\n"
    "add, list, update and remove also go over Kafka itself, where "
    "neither --url nor a context names an API. The API asks for the operator's token; that of a running "
    "`hookstream up` is known.",
)

#: the fields that `--clear` takes, with their empty values
_CLEARED: dict[str, Any] = {"retention_days": None, "redact": []}

LabelOption = Annotated[
    list[str] | None, typer.Option("--label", help="Label of your own: name=value. Replaces all labels. Repeatable.")
]
RetentionOption = Annotated[
    int | None,
    typer.Option(help="Days that the read model keeps its events and deliveries. Default: as for all tenants."),
]
RedactOption = Annotated[
    list[str] | None,
    typer.Option(help="Field of events, such as customer.email, that is sent but never shown. Repeatable."),
]


@app.command("add")
@uses_api
def add(
    tenant_id: Annotated[str, typer.Argument(help="The tenant's id, which events carry as `tenant`.")],
    name: Annotated[str, typer.Option(help="Name shown in lists and e-mails.")] = "",
    profile: Annotated[
        str, typer.Option(help="Default profile of its endpoints.", autocompletion=completion.wire_formats)
    ] = "standard",
    notify_email: Annotated[
        list[str] | None, typer.Option(help="Address that is notified of failing endpoints. Repeatable.")
    ] = None,
    open_catalogue: Annotated[
        bool | None,
        typer.Option(
            "--open-catalogue/--closed-catalogue",
            help="Whether endpoints may subscribe to types outside the catalogue. Default: only with `standard`.",
        ),
    ] = None,
    label: LabelOption = None,
    retention_days: RetentionOption = None,
    redact: RedactOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Register a tenant, or replace its settings. Events of unregistered tenants are delivered as well.

    Example:
        hookstream tenants add acme --name 'Acme Ltd' --notify-email ops@acme.example
    """
    emails, labels = tuple(notify_email or ()), pairs_of("label", label or [], "=")
    address = api_or_kafka(operator=True)
    if address is not None:
        body = {
            "id": tenant_id,
            "name": name,
            "profile": profile,
            "notify_emails": emails,
            "open_catalogue": open_catalogue,
            "metadata": labels,
            "retention_days": retention_days,
            "redact": redact or [],
        }
        show_one(ask(address, lambda api: _register(api, tenant_id, body)), output)
        return

    async def work() -> dict[str, Any]:
        from app.cli.connect.registry_session import session

        async with session() as registry:
            tenant = Tenant(
                id=tenant_id,
                name=name,
                profile=profile,
                notify_emails=emails,
                open_catalogue=open_catalogue,
                metadata=labels,
                retention_days=retention_days,
                redact=tuple(redact or ()),
            )
            await registry.call(PutTenant(tenant), tenant_id)
            return _public(registry.directory.tenants[tenant_id])

    show_one(process_context.run(work()), output)


async def _register(api: ApiClient, tenant_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Register a tenant, or replace an existing one, as the command does over Kafka."""
    try:
        registered: dict[str, Any] = await api.post("tenants", body=body)
    except CommandRefused as error:
        if error.code != "exists":
            raise
        registered = await api.put("tenants", tenant_id, body=body)
    return registered


@app.command("list")
@uses_api
def list_(output: OutputOption = OutputFormat.table) -> None:
    """List tenants.

    Example:
        hookstream tenants list -o json
    """

    async def work() -> list[dict[str, Any]]:
        from app.cli.connect.registry_session import session

        async with session() as registry:
            return [_public(tenant) for _, tenant in sorted(registry.directory.tenants.items())]

    address = api_or_kafka(operator=True)
    tenants = process_context.run(work()) if address is None else ask(address, lambda api: api.all("tenants"))
    show(tenants, ("id", "name", "profile"), output, "No tenants are registered.", ("notify_emails",))


@app.command("show")
@uses_api
def show_command(
    tenant_id: Annotated[str, typer.Argument(help="The tenant's id.")], output: OutputOption = OutputFormat.table
) -> None:
    """Show one tenant (through the API).

    Example:
        hookstream tenants show acme
    """
    show_one(ask(the_api(operator=True), lambda api: api.get("tenants", tenant_id)), output)


@app.command("update")
@uses_api
def update(
    tenant_id: Annotated[str, typer.Argument(help="The tenant's id.")],
    name: Annotated[str | None, typer.Option(help="Name shown in lists and e-mails.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="Default profile of its new endpoints.", autocompletion=completion.wire_formats),
    ] = None,
    notify_email: Annotated[
        list[str] | None, typer.Option(help="Address that is notified. Replaces all addresses. Repeatable.")
    ] = None,
    label: LabelOption = None,
    retention_days: RetentionOption = None,
    redact: RedactOption = None,
    clear: Annotated[
        list[str] | None, typer.Option(help="Field to clear: retention_days or redact. Repeatable.")
    ] = None,
    open_catalogue: Annotated[
        bool | None,
        typer.Option(
            "--open-catalogue/--closed-catalogue",
            help="Whether endpoints may subscribe to types outside the catalogue.",
        ),
    ] = None,
    expect_version: Annotated[int | None, typer.Option(help="Fail if the tenant has another version by now.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Change the named fields of a tenant; others stay.

    Example:
        hookstream tenants update acme --name 'Acme Ltd' --label plan=gold
    """
    changes = only_given(
        {
            "name": name,
            "profile": profile,
            "notify_emails": notify_email or None,
            "metadata": pairs_of("label", label, "=") if label else None,
            "open_catalogue": open_catalogue,
            "retention_days": retention_days,
            "redact": redact or None,
        }
    )
    for field in clear or ():
        if field not in _CLEARED or field in changes:
            raise typer.BadParameter(f"{field}: cleared are {' and '.join(_CLEARED)}, unless they are given, too")
        changes[field] = _CLEARED[field]
    if not changes:
        raise typer.BadParameter("name at least one field to change")
    address = api_or_kafka(operator=True)
    if address is not None:
        patched = ask(address, lambda api: api.patch("tenants", tenant_id, body=changes, expect_version=expect_version))
        show_one(patched, output)
        return

    async def work() -> dict[str, Any]:
        from app.cli.connect.registry_session import session

        async with session() as registry:
            tenant = registry.directory.tenants.get(tenant_id)
            if tenant is None:
                raise CommandRefused("not_found", f"there is no tenant {tenant_id}")
            changed = msgspec.structs.replace(
                tenant, **{each: tuple(to) if isinstance(to, list) else to for each, to in changes.items()}
            )
            await registry.call(PutTenant(changed, expect_version or tenant.version), tenant_id)
            return _public(registry.directory.tenants[tenant_id])

    show_one(process_context.run(work()), output)


@app.command("remove")
@uses_api
def remove(
    tenant_id: Annotated[str, typer.Argument(help="The tenant's id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    expect_version: Annotated[int | None, typer.Option(help="Fail if the tenant has another version by now.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Delete a tenant with its endpoints, keys, event types and replays. Its id is never used again.

    Example:
        hookstream tenants remove acme --yes
    """
    if not yes:
        typer.confirm(f"Delete tenant {tenant_id} with all its endpoints and keys? It cannot be undone.", abort=True)
    address = api_or_kafka(operator=True)
    if address is not None:
        removed = ask(address, lambda api: api.delete("tenants", tenant_id, expect_version=expect_version))
        show_one(removed, output)
        return

    async def work() -> dict[str, Any]:
        from app.cli.connect.registry_session import session

        async with session() as registry:
            await registry.call(DeleteTenant(tenant_id, expect_version), tenant_id)
            held = registry.directory.holdings(tenant_id)
            return {"id": tenant_id, "remaining": held.endpoints + held.keys + held.event_types}

    show_one(process_context.run(work()), output)


def _public(tenant: Tenant) -> dict[str, Any]:
    return {name: getattr(tenant, name) for name in Tenant.__struct_fields__} | {
        "notify_emails": list(tenant.notify_emails),
        "redact": list(tenant.redact),
    }
