"""`hookstream export`: the configuration as files for `hookstream apply`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.connect import process_context
from app.cli.connect.api_connection import api_for_anybody, ask, the_api, uses_api
from app.cli.terminal.counts import count_of
from app.core.errors import ConfigError
from app.core.exit_codes import ExitCode

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient
    from app.cli.configuration.plan import Live
    from app.cli.configuration.writer import Exported

#: what `-o` means in the other commands
_FORMATS = ("json", "table", "wide")


@uses_api
def export(
    tenant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="T", help="Only this tenant, with the operator's token. Repeatable. Default: all tenants."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the files. Default: standard output."),
    ] = None,
) -> None:
    """Write tenants, event types and endpoints as YAML files that `hookstream apply` reads.

    With the operator's token: tenants/ID.yaml for each tenant, and the installation's event types. With a tenant's key:
    its own. Signing secrets are left out; sealed values are written as ********, which keeps the present value. Only
    endpoints with a `uid` are written; the others are listed.

    Examples:
        hookstream export -o hookstream/
        hookstream export --tenant acme >acme.yaml
    """
    from app.cli.configuration.live import read_own, read_tenants
    from app.cli.configuration.writer import Exported, dumped, write_files

    if folder is not None and str(folder) in _FORMATS:
        process_context.fail(ConfigError([f"-o names a folder here; for one of that name write ./{folder}"]))
    target = the_api(operator=True) if tenant else api_for_anybody()

    async def read(api: ApiClient) -> Live:
        if target.token.reveal().startswith("sk_") and not tenant:
            return await read_own(api)
        return await read_tenants(api, tenant or [])

    exported = Exported(ask(target, read))
    documents = exported.documents()
    if folder is None:
        sys.stdout.write("".join(f"---\n{dumped(each)}" for each in documents.values()))
    else:
        try:
            written = list(write_files(folder, documents))
        except OSError as error:
            process_context.fail(ConfigError([f"{error.filename}: {error.strerror}"]))
        print(f"{count_of(len(documents), 'file')} in {folder}, {len(written)} changed.")
    _remark(exported)
    raise typer.Exit(ExitCode.DONE)


def _remark(exported: Exported) -> None:
    for scope, each in exported.without_uid[:20]:
        owner = f" of {scope}" if scope.tenant else ""
        print(f"left out, without a uid: {each['id']}{owner}", file=sys.stderr)
    number = len(exported.without_uid)
    if number:
        more = f"… {number} in all. " if number > 20 else ""
        print(f"{more}Give each one a uid:  hookstream endpoints update ep_… --uid NAME", file=sys.stderr)
    if exported.masked:
        print(
            f"{count_of(exported.masked, 'endpoint')} with sealed values, written as ********: this keeps them on this "
            "installation; elsewhere write env:NAME or file:PATH in their place.",
            file=sys.stderr,
        )
    if exported.paused:
        print(f"{count_of(exported.paused, 'endpoint')} paused, which files do not describe.", file=sys.stderr)
