"""`hookstream import`: endpoints of other products as configuration files."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from app.cli.connect import completion, process_context
from app.cli.connect.api_connection import uses_api
from app.cli.connect.tenant_options import ModeChoice
from app.cli.terminal.counts import count_of
from app.cli.terminal.inputs import secret_of
from app.cli.terminal.output import OutputFormat, OutputOption, show_json
from app.core.errors import ConfigError
from app.core.exit_codes import ExitCode
from app.core.secret_text import SecretText
from app.profiles.catalog import PROFILES

if TYPE_CHECKING:
    from app.cli.configuration.imports.collected import Collection

app = typer.Typer(
    no_args_is_help=True,
    help="Take over endpoints from other products: answers of their APIs become files for `hookstream apply`, with "
    "uids, URLs, event types, secrets and the disabled state. What cannot be carried over is listed.",
)

#: losses that are printed; all are in the file
_SHOWN = 50
_REPORT = "import-report.txt"

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE|URL…", help="JSON of the product's API (- = stdin), or the API's address, with --source-key-file."
    ),
]
SourceKeyOption = Annotated[
    str | None,
    typer.Option("--source-key-file", metavar="FILE", help="File with the key of the product's API (- = stdin)."),
]
FolderOption = Annotated[
    Path | None, typer.Option("--to", metavar="DIR", help="Folder for the files, secrets and the report.")
]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Create the endpoints at once, without files.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="With --apply: only show what would change.")]
NewSecretsOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With --apply: append generated signing secrets to this file."),
]
TargetTenantOption = Annotated[
    str | None,
    typer.Option("--tenant", metavar="T", help="Put all endpoints into this tenant. Default: those of the export."),
]
TargetModeOption = Annotated[ModeChoice, typer.Option("--mode", help="Their mode.")]
ProfileOption = Annotated[
    str, typer.Option("--profile", help="Their wire format.", autocompletion=completion.wire_formats)
]
SignatureOption = Annotated[
    str | None,
    typer.Option("--signature", help="The profile whose signature they get.", autocompletion=completion.wire_formats),
]


@app.command("svix")
@uses_api
def svix(
    sources: SourcesArgument,
    source_key_file: SourceKeyOption = None,
    to: FolderOption = None,
    apply: ApplyOption = False,
    dry_run: DryRunOption = False,
    new_secrets: NewSecretsOption = None,
    tenant: TargetTenantOption = None,
    mode: TargetModeOption = ModeChoice.live,
    profile: ProfileOption = "standard",
    signature: SignatureOption = "recall",
    output: OutputOption = OutputFormat.table,
) -> None:
    """Import from Svix: answers of `GET /api/v1/app/{id}/endpoint/`, optionally with secrets and headers.

    The default signature has Svix's header names (svix-id, svix-timestamp, svix-signature): receivers need no change.

    Examples:
        hookstream import svix endpoints.json --tenant acme --to hookstream/
        hookstream import svix https://api.eu.svix.com --source-key-file svix.key --to hookstream/
    """
    from app.cli.configuration.imports.svix import collect

    choices = _Choices(to, apply, dry_run, new_secrets, output)
    _import("svix", collect, _Sources(sources, source_key_file), (tenant, mode, profile, signature), choices)


@app.command("convoy")
@uses_api
def convoy(
    sources: SourcesArgument,
    source_key_file: SourceKeyOption = None,
    to: FolderOption = None,
    apply: ApplyOption = False,
    dry_run: DryRunOption = False,
    new_secrets: NewSecretsOption = None,
    tenant: TargetTenantOption = None,
    mode: TargetModeOption = ModeChoice.live,
    profile: ProfileOption = "standard",
    signature: SignatureOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Import from Convoy: answers of `GET /api/v1/projects/{id}/endpoints` and `…/subscriptions`, in one or more files.

    An endpoint's `owner_id` becomes its tenant.

    Example:
        hookstream import convoy endpoints.json subscriptions.json --to hookstream/
    """
    from app.cli.configuration.imports.convoy import collect

    choices = _Choices(to, apply, dry_run, new_secrets, output)
    _import("convoy", collect, _Sources(sources, source_key_file), (tenant, mode, profile, signature), choices)


@app.command("outpost")
@uses_api
def outpost(
    sources: SourcesArgument,
    source_key_file: SourceKeyOption = None,
    to: FolderOption = None,
    apply: ApplyOption = False,
    dry_run: DryRunOption = False,
    new_secrets: NewSecretsOption = None,
    tenant: TargetTenantOption = None,
    mode: TargetModeOption = ModeChoice.live,
    profile: ProfileOption = "standard",
    signature: SignatureOption = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Import from Outpost: answers of `GET /tenants/{id}/destinations`.

    Examples:
        hookstream import outpost destinations.json --tenant acme --to hookstream/
        hookstream import outpost outpost.json --to hookstream/
    """
    from app.cli.configuration.imports.outpost import collect

    choices = _Choices(to, apply, dry_run, new_secrets, output)
    _import("outpost", collect, _Sources(sources, source_key_file), (tenant, mode, profile, signature), choices)


class _Sources(NamedTuple):
    """Where the export is."""

    names: list[str]
    key_file: str | None


class _Choices(NamedTuple):
    """What happens to the endpoints."""

    to: Path | None
    apply: bool
    dry_run: bool
    new_secrets: Path | None
    output: OutputFormat


def _import(
    product: str,
    collect: Callable[[list[Any], Collection], None],
    sources: _Sources,
    target: tuple[str | None, ModeChoice, str, str | None],
    choices: _Choices,
) -> None:
    from app.cli.configuration.imports.collected import Collection, ImportTarget

    tenant, mode, profile, signature = target
    process_context.or_fail(lambda: _check(sources, choices, profile, signature))
    collection = Collection(ImportTarget(tenant, mode.value, profile, signature))
    collect(_documents(product, sources), collection)
    if not collection.read:
        process_context.fail(
            ConfigError(["the export has no endpoints: is it the answer of the right route? See --help"])
        )
    if choices.to is not None:
        folder = choices.to
        process_context.or_fail(lambda: _write(collection, folder))
        _report(collection, folder, choices.output)
        return
    _report(collection, None, OutputFormat.table if choices.output is not OutputFormat.json else None)
    _apply(collection, choices)


def _documents(product: str, sources: _Sources) -> list[Any]:
    from app.cli.configuration.imports.sources import read_sources

    if sources.key_file is None:
        return process_context.or_fail(lambda: read_sources(sources.names))
    from app.adapters.http.foreign_api import ForeignApi
    from app.cli.configuration.imports.remote import FETCH

    key = process_context.or_fail(lambda: secret_of("source-key", None, sources.key_file)) or ""

    async def fetch() -> list[Any]:
        async with ForeignApi(sources.names[0], SecretText(key)) as api:
            return [await FETCH[product](api)]

    return process_context.run(fetch())


def _check(sources: _Sources, choices: _Choices, profile: str, signature: str | None) -> None:
    problems = [
        f"{name}: {value} is unknown: one of {', '.join(PROFILES)}"
        for name, value in (("--profile", profile), ("--signature", signature))
        if value is not None and value not in PROFILES
    ]
    remote = [each for each in sources.names if each.startswith(("https://", "http://"))]
    if remote and (sources.key_file is None or len(sources.names) > 1):
        problems.append("an address is given alone, and with --source-key-file")
    if sources.key_file is not None and not remote:
        problems.append("--source-key-file belongs to an address, https://…")
    if (choices.to is None) is not choices.apply:
        problems.append("give either --to DIR, for files that `hookstream apply` reads, or --apply")
    if choices.dry_run and not choices.apply:
        problems.append("--dry-run belongs to --apply; for files: hookstream apply -f DIR --dry-run")
    if problems:
        raise ConfigError(problems)


def _write(collection: Collection, folder: Path) -> None:
    from app.cli.configuration.report import clean
    from app.cli.configuration.writer import replace

    try:
        collection.write(folder)
        report = "".join(f"{clean(str(each))}\n" for each in collection.losses)
        replace(folder / _REPORT, (_summary(collection) + "\n" + report).encode())
    except OSError as error:
        raise ConfigError([f"{error.filename}: {error.strerror}"]) from error


def _report(collection: Collection, folder: Path | None, output: OutputFormat | None) -> None:
    from app.cli.configuration.report import clean

    if output is OutputFormat.json:
        losses = [each._asdict() for each in collection.losses]
        show_json({"read": collection.read, "carried_over": collection.carried, "losses": losses})
        return
    for each in collection.losses[:_SHOWN]:
        print(clean(f"not carried over: {each}"), file=sys.stderr)
    if len(collection.losses) > _SHOWN:
        rest = f"all are in {folder / _REPORT}" if folder else "--to DIR writes all into a report"
        print(f"… and {len(collection.losses) - _SHOWN} more; {rest}", file=sys.stderr)
    print(_summary(collection), file=sys.stderr if output is None else sys.stdout)
    if folder is not None:
        print(f"Look at the files, then:  hookstream apply -f {folder} --dry-run")


def _summary(collection: Collection) -> str:
    return (
        f"{collection.carried} of {count_of(collection.read, 'endpoint')} carried over; "
        f"{count_of(len(collection.losses), 'remark')} on what was not."
    )


def _apply(collection: Collection, choices: _Choices) -> None:
    from app.cli.commands.apply import Choices, apply_files

    if not collection.carried:
        raise typer.Exit(ExitCode.DONE)
    as_json = choices.output is OutputFormat.json
    with tempfile.TemporaryDirectory(prefix="hookstream-import-") as folder:
        collection.write(Path(folder))
        apply_files([folder], None, None, Choices(choices.dry_run, new_secrets=choices.new_secrets, as_json=as_json))
