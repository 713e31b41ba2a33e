"""`hookstream keys`: the keys of the API, and the ring that seals signing secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connect import completion
from app.cli.connect.api_connection import ask, the_api, uses_api
from app.cli.terminal.inputs import only_given
from app.cli.terminal.output import OutputFormat, OutputOption, remind_to_store, show, show_json, show_one

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient

app = typer.Typer(
    no_args_is_help=True,
    help="API keys (create, list and revoke need the operator's token; a running `hookstream up` supplies it), "
    "and the ring that seals signing secrets (generate).",
)


@app.command("generate")
def generate(output: OutputOption = OutputFormat.table) -> None:
    """Generate a key ring for HOOKSTREAM_SECRET_KEYS. All processes need the same one.

    Example:
        export HOOKSTREAM_SECRET_KEYS=$(hookstream keys generate)
    """
    from app.adapters.secrets.keyring import generate_ring

    ring = generate_ring()
    if output is OutputFormat.json:
        show_json({"ring": ring})
    else:
        print(ring)


def _scopes(incomplete: str) -> list[str]:
    return [scope for scope in ("read", "write", "pull") if scope.startswith(incomplete)]


@app.command("create")
@uses_api
def create(
    tenant: Annotated[str, typer.Option(help="The tenant that the key belongs to.")],
    mode: Annotated[str, typer.Option(help="live or test.", autocompletion=completion.modes)],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="read, write, or pull (only pull endpoints). Repeatable. Default: read and write.",
            autocompletion=_scopes,
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Who holds the key; shown in lists.")] = "",
    expires_at: Annotated[
        str | None, typer.Option(help="Expiry time, for example 2027-01-31T00:00:00Z. Default: never.")
    ] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Make a key. It is shown once, now.

    Examples:
        hookstream keys create --tenant acme --mode live
        hookstream keys create --tenant acme --mode test -o json | jq -r .key >test.key
    """
    body = only_given({"mode": mode, "name": name, "scopes": scope, "expires_at": expires_at})
    show_one(ask(the_api(operator=True), lambda api: api.post("tenants", tenant, "keys", body=body)), output)
    if output is not OutputFormat.json:
        remind_to_store("key")


@app.command("list")
@uses_api
def list_(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's keys. Default: those of all tenants.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show keys: all but the key itself, of which the last four characters are known.

    Example:
        hookstream keys list --tenant acme
    """
    keys = ask(the_api(operator=True), lambda api: _keys(api, tenant))
    show(keys, ("id", "tenant", "mode", "name"), output, "No keys.", ("last4", "scopes", "expires_at", "created_at"))


async def _keys(api: ApiClient, tenant: str | None) -> list[dict[str, Any]]:
    tenants = [tenant] if tenant is not None else [each["id"] for each in await api.all("tenants")]
    return [{"tenant": each, **key} for each in tenants for key in await api.all("tenants", each, "keys")]


@app.command("revoke")
@uses_api
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, from `keys list`; not the key itself.")],
    tenant: Annotated[str, typer.Option(help="The key's tenant.")],
    output: OutputOption = OutputFormat.table,
) -> None:
    """Make a key worthless, at once.

    Example:
        hookstream keys revoke key_81b2c5d09e7f4a3b6d20c9f5 --tenant acme
    """
    ask(the_api(operator=True), lambda api: api.delete("tenants", tenant, "keys", key_id))
    show_one({"id": key_id, "revoked": True}, output)
