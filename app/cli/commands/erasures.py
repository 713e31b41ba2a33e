"""`hookstream erasures`: erase the data of events about a person."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.cli.connect.api_connection import ask, uses_api
from app.cli.connect.tenant_options import ModeOption, TenantOption, address
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one

app = typer.Typer(no_args_is_help=True, help="Erase subjects of events (through the API).")
_COLUMNS = ("id", "erased_at", "times")


@app.command("create")
@uses_api
def create(
    subject: Annotated[str, typer.Argument(help="The subject, as its events name it; - reads it from stdin.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Erase a subject: destroy the key of its data. It cannot be undone.

    Its waiting deliveries end as dead, reason `erased`. What producers wrote to events.raw stays there until its
    retention. Later events of the subject are delivered as before.

    Example:
        hookstream erasures create customer-4711 --tenant acme --yes
    """
    if subject == "-":
        subject = sys.stdin.readline().rstrip("\n")
    if not yes:
        typer.confirm("Erase this subject? It cannot be undone.", abort=True)
    erased = ask(address(tenant, mode), lambda api: api.post("erasures", body={"subject": subject}))
    show_one(erased, output)


@app.command("get")
@uses_api
def get(
    erasure_id: Annotated[str, typer.Argument(help="The erasure's id.")],
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show an erasure.

    Example:
        hookstream erasures get ers_0b6f3c9d1e7a4f5288c0d3e19a7b6c54
    """
    show_one(ask(address(tenant, mode), lambda api: api.get("erasures", erasure_id)), output)


@app.command("list")
@uses_api
def list_(tenant: TenantOption = None, mode: ModeOption = None, output: OutputOption = OutputFormat.table) -> None:
    """List the erasures of a tenant and mode. They do not name their subjects.

    Example:
        hookstream erasures list --tenant acme
    """
    erasures = ask(address(tenant, mode), lambda api: api.all("erasures"))
    show(erasures, _COLUMNS, output, "No erasures.")
