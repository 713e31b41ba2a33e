"""`hookstream event-types`: list, declare and delete event types, with their schemas."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import orjson
import typer

from app.cli.connect import completion
from app.cli.connect.api_connection import ask, the_api, uses_api
from app.cli.connect.api_target import ApiTarget
from app.cli.connect.tenant_options import ModeOption, TenantOption, read_address
from app.cli.terminal.inputs import bytes_of, json_of, only_given
from app.cli.terminal.output import OutputFormat, OutputOption, show, show_one

app = typer.Typer(
    no_args_is_help=True,
    help="Event types of a tenant, and of the installation's catalogue, which all tenants see (through the API).\n\n"
    "With a tenant's key, or --tenant, the commands act on the tenant's own types. With the operator's token they act "
    "on the catalogue of the installation.",
)

NameArgument = Annotated[
    str, typer.Argument(help="The event type's name, for example order.shipped.", autocompletion=completion.event_types)
]
InstallationOption = Annotated[
    bool,
    typer.Option("--installation", help="Use the operator's token: the catalogue that all tenants see."),
]


class EnforceChoice(StrEnum):
    """The value of `--enforce`."""

    off = "off"
    warn = "warn"
    reject = "reject"


EnforceOption = Annotated[
    EnforceChoice | None,
    typer.Option(
        help="What happens to events that violate the schema. off: no check; warn: counted and delivered; reject: "
        "rejected.",
    ),
]


def target(tenant: str | None, mode: ModeOption, installation: bool) -> ApiTarget:
    """The API, for the types of a tenant or of the installation."""
    if not installation:
        return read_address(tenant, mode)
    if tenant is not None:
        raise typer.BadParameter("--installation and --tenant exclude each other")
    return the_api(operator=True)


@app.command("list")
@uses_api
def list_(
    profile: Annotated[
        str | None,
        typer.Option(help="Include this product's catalogue.", autocompletion=completion.wire_formats),
    ] = None,
    installation: InstallationOption = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show event types: the tenant's own, the installation's, and those of the product's catalogue.

    Example:
        hookstream event-types list --profile standard
    """
    query = only_given({"profile": profile})
    types = ask(target(tenant, mode, installation), lambda api: api.all("event-types", query=query))
    rows = [each | {"declared by": each["profile"] or each["source"], "enforce": each["mode"]} for each in types]
    shown = types if output is OutputFormat.json else rows
    show(shown, ("name", "declared by", "enforce"), output, "No event types.", ("description",))


@app.command("show")
@uses_api
def show_command(
    name: NameArgument,
    installation: InstallationOption = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show one event type with its schema and example.

    Example:
        hookstream event-types show user.created
    """
    show_one(ask(target(tenant, mode, installation), lambda api: api.get("event-types", name)), output)


@app.command("add")
@uses_api
def add(
    name: NameArgument,
    schema: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with the JSON Schema (2020-12) of `data`; - = stdin.")
    ] = None,
    example: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with `data` of an example event; - = stdin.")
    ] = None,
    enforce: EnforceOption = None,
    description: Annotated[str, typer.Option(help="Free text shown in lists.")] = "",
    installation: InstallationOption = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Declare an event type, or replace its declaration.

    Examples:
        hookstream event-types add order.shipped --schema schema.json
        hookstream event-types add order.shipped --installation --enforce warn
    """
    body = only_given(
        {
            "description": description,
            "schema": _json("--schema", schema),
            "example": _json("--example", example),
            "mode": enforce.value if enforce is not None else None,
        }
    )
    show_one(ask(target(tenant, mode, installation), lambda api: api.put("event-types", name, body=body)), output)


def _json(option: str, file: str | None) -> msgspec.Raw | None:
    return json_of(option, "@" + file) if file is not None else None


@app.command("delete")
@uses_api
def delete(
    name: NameArgument,
    installation: InstallationOption = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Delete the declaration of an event type. Endpoints keep their subscriptions.

    Example:
        hookstream event-types delete order.shipped --tenant acme
    """
    ask(target(tenant, mode, installation), lambda api: api.delete("event-types", name))
    show_one({"name": name, "deleted": True}, output)


class BodyChoice(StrEnum):
    """The value of `--body`."""

    data = "data"
    envelope = "envelope"


@app.command("import")
@uses_api
def import_(
    file: Annotated[str, typer.Argument(help="OpenAPI 3.1 document with webhooks, JSON or YAML; - = stdin.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    body: Annotated[
        BodyChoice,
        typer.Option(help="What the schemas describe. data: the event's data; envelope: a body with a property data."),
    ] = BodyChoice.data,
    enforce: EnforceOption = None,
    installation: InstallationOption = False,
    tenant: TenantOption = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Declare the webhooks of an OpenAPI document as event types. Deletes none.

    Example:
        hookstream event-types import openapi.yaml --dry-run
    """
    request = {"document": document_of(bytes_of(file)), "body": body.value, "dry_run": dry_run}
    if enforce is not None:
        request["mode"] = enforce.value
    report = ask(target(tenant, mode, installation), lambda api: api.post("event-types", "import", body=request))
    if output is OutputFormat.json:
        show_one(report, output)
        return
    show([_change(each) for each in report["event_types"]], ("name", "action", "what"), output, "No webhooks.")
    verb = "would be " if dry_run else ""
    print(
        f"{report['added']} {verb}added, {report['changed']} {verb}changed, {report['unchanged']} unchanged, "
        f"{report['skipped']} skipped."
    )


def document_of(text: bytes) -> dict[str, Any]:
    """An OpenAPI document of a file."""
    import yaml

    try:
        document = yaml.safe_load(text)  # JSON is YAML
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise typer.BadParameter(f"the file is neither JSON nor YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict):
        raise typer.BadParameter("the file is no OpenAPI document: it is not an object")
    try:
        whole: dict[str, Any] = orjson.loads(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS))
    except TypeError as error:
        raise typer.BadParameter(f"the file cannot be written as JSON: {error}") from error
    return whole


def _change(change: Mapping[str, Any]) -> dict[str, Any]:
    signs = {"added": "+", "removed": "-", "changed": "~"}
    lines = [f"{signs[each['change']]} {each['pointer']}" for each in change["differences"]]
    if change["more_differences"]:
        lines.append(f"and {change['more_differences']} more")
    return {"name": change["name"], "action": change["action"], "what": change["reason"] or "\n".join(lines)}
