"""`hookstream apply`: make the service's configuration what files describe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from app.cli.connect import process_context
from app.cli.connect.api_connection import api_for_anybody, ask, the_api, uses_api
from app.cli.connect.tenant_options import ModeOption, address
from app.cli.terminal.counts import count_of
from app.cli.terminal.output import OutputFormat, OutputOption, show_json
from app.core.errors import ConfigError, Unavailable
from app.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from app.cli.configuration.carry_out import NewSecret, Run
    from app.cli.configuration.desired import Desired
    from app.cli.configuration.live import TypesOwner
    from app.cli.configuration.plan import Plan
    from app.cli.connect.api_target import ApiTarget


@uses_api
def apply(
    file: Annotated[
        list[str], typer.Option("--file", "-f", metavar="FILE|DIR", help="File or folder; - = stdin. Repeatable.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Delete the endpoints with a uid that the files leave out, in their tenants."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deletions.")] = False,
    renew_secrets: Annotated[
        bool,
        typer.Option(
            "--renew-secrets",
            help="Also write secrets that are set already: the service never shows whether they differ.",
        ),
    ] = False,
    new_secrets: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Append the signing secrets that are generated to this file, one JSON object a line."
        ),
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(metavar="T", help="Act for this tenant with the operator's token, for files without `tenants`."),
    ] = None,
    mode: ModeOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Create and change tenants, event types and endpoints until they are as files describe them.

    Endpoints are recognised by their `uid`; others are left alone. Files with `tenants` need the operator's token. A
    file with only `endpoints` and `event_types` describes those of the key's tenant and mode. With --dry-run the exit
    code is 2 if something would change.

    Examples:
        hookstream apply -f hookstream/ --dry-run
        hookstream apply -f hookstream/ --prune --yes
    """
    as_json = output is OutputFormat.json
    apply_files(file, tenant, mode, Choices(dry_run, prune, yes, renew_secrets, new_secrets, as_json))


class Choices(msgspec.Struct, frozen=True):
    """How to apply."""

    dry_run: bool = False
    prune: bool = False
    yes: bool = False
    renew_secrets: bool = False
    new_secrets: Path | None = None
    as_json: bool = False


def apply_files(files: list[str], tenant: str | None, mode: ModeOption, choices: Choices) -> None:
    """Read the files, show the plan and carry it out; ends the program with the exit code."""
    from app.cli.configuration.files import read_all

    desired = process_context.or_fail(lambda: read_all(files))
    target, own = _target(desired, tenant, mode)
    _carry_out(desired, target, own, choices)


def _carry_out(desired: Desired, target: ApiTarget, own: TypesOwner, choices: Choices) -> None:
    from app.adapters.http.api_client import ApiClient
    from app.cli.configuration import report
    from app.cli.configuration.live import read_live
    from app.cli.configuration.plan import plan

    async def compare(api: ApiClient) -> Plan:
        live = await read_live(api, desired, own)
        return plan(desired, live, prune=choices.prune, renew_secrets=choices.renew_secrets)

    planned = ask(target, compare)
    if not choices.as_json:
        print("\n".join(report.plan_lines(planned)))
    for problem in planned.problems:
        print(report.clean(problem), file=sys.stderr)
    if choices.dry_run or planned.problems or not planned.changes:
        if choices.as_json:
            show_json(report.document(planned, [], dry_run=choices.dry_run))
        if planned.problems:
            raise typer.Exit(ExitCode.REFUSED)
        raise typer.Exit(ExitCode.USAGE if choices.dry_run and planned.changes else ExitCode.DONE)
    _confirm(planned, choices.yes)
    run = _carried_out(target, planned, choices.new_secrets)
    if choices.as_json:
        show_json(report.document(planned, run.outcomes, dry_run=False))
    _end(run, choices)


def _target(desired: Desired, tenant: str | None, mode: ModeOption) -> tuple[ApiTarget, TypesOwner]:
    """The API with the right token, and the owner of event types without a tenant."""
    has_endpoints = any(not scope.tenant for scope in desired.scopes)
    if desired.tenants and (tenant is not None or has_endpoints):
        what = "--tenant" if tenant is not None else "`endpoints` without a tenant"
        process_context.fail(
            ConfigError([f"{what} and `tenants` exclude each other: tenants need the operator's token, see --help"])
        )
    if desired.tenants:
        return the_api(operator=True), "installation"
    if tenant is not None or mode is not None or has_endpoints:
        return address(tenant, mode), "tenant"
    target = api_for_anybody()
    return target, "tenant" if target.token.reveal().startswith("sk_") else "installation"


def _confirm(planned: Plan, yes: bool) -> None:
    deletions = sum(change.action == "delete" for change in planned.changes)
    if not deletions or yes:
        return
    what = count_of(deletions, "endpoint")
    if not sys.stdin.isatty():
        process_context.fail(ConfigError([f"{what} to delete, and standard input is no terminal to ask: give --yes"]))
    typer.confirm(f"Delete {what} and cancel the open deliveries?", abort=True)


def _carried_out(target: ApiTarget, planned: Plan, new_secrets: Path | None) -> Run:
    from app.cli.configuration.carry_out import carry_out

    write = process_context.or_fail(lambda: _secrets_writer(new_secrets))
    return ask(target, lambda api: carry_out(api, planned, write))


def _secrets_writer(path: Path | None) -> Callable[[NewSecret], None]:
    """Appends generated secrets to a file that its owner alone can read. Raises `ConfigError`."""
    if path is None:
        return lambda _: None
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError([f"--new-secrets: {path}: {error.strerror}"]) from error

    def write(secret: NewSecret) -> None:
        os.write(descriptor, msgspec.json.encode(secret) + b"\n")

    return write


def _end(run: Run, choices: Choices) -> None:
    from app.cli.configuration import report

    for line in report.failure_lines(run):
        print(line, file=sys.stderr)
    if run.generated and choices.new_secrets is None:
        print(
            f"{count_of(run.generated, 'signing secret')} generated, and not shown. Name yours with `secret: "
            "env:NAME`, or make new ones with `hookstream endpoints rotate-secret UID`; next time, --new-secrets FILE "
            "stores them.",
            file=sys.stderr,
        )
    if run.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if isinstance(run.ended_by, Unavailable):
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if run.count("failed"):
        raise typer.Exit(ExitCode.REFUSED)
    if not choices.as_json:
        print(f"{count_of(run.count('done'), 'change')} made.")
