"""`hookstream tenants`: the customers whose events never mix."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import context
from app.cli.output import Format, Output, show, show_one
from app.cli.registry_session import session
from app.core.commands import PutTenant
from app.core.model import Tenant

app = typer.Typer(no_args_is_help=True, help="The isolation units: one for each of your customers.")


@app.command("add")
def add(
    tenant_id: Annotated[str, typer.Argument(help="The id that events carry as `tenant`.")],
    name: Annotated[str, typer.Option(help="For people.")] = "",
    profile: Annotated[str, typer.Option(help="Default wire format of its endpoints.")] = "standard",
    notify_email: Annotated[list[str] | None, typer.Option(help="Who hears of failing endpoints. Repeatable.")] = None,
    output: Output = Format.table,
) -> None:
    """Register a tenant, or replace what is known of it. Events of unregistered tenants are delivered all the same."""

    async def work() -> dict[str, Any]:
        async with session() as registry:
            tenant = Tenant(id=tenant_id, name=name, profile=profile, notify_emails=tuple(notify_email or ()))
            await registry.call(PutTenant(tenant), tenant_id)
            return _public(registry.directory.tenants[tenant_id])

    show_one(context.run(work()), output)


@app.command("list")
def list_(output: Output = Format.table) -> None:
    """Show all tenants."""

    async def work() -> list[dict[str, Any]]:
        async with session() as registry:
            return [_public(tenant) for _, tenant in sorted(registry.directory.tenants.items())]

    show(context.run(work()), ("id", "name", "profile", "notify_emails"), output, "No tenants are registered.")


def _public(tenant: Tenant) -> dict[str, Any]:
    return {name: getattr(tenant, name) for name in Tenant.__struct_fields__} | {
        "notify_emails": list(tenant.notify_emails)
    }
