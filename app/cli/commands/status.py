"""`hookstream status`: the addresses of the `hookstream up` that runs with the data folder."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show_one
from app.core.errors import Unavailable


class StatusField(StrEnum):
    """A value that `hookstream status` can print without the others."""

    api_url = "api_url"
    bootstrap = "bootstrap"
    dashboard = "dashboard"
    pid = "pid"


def status(
    field: Annotated[StatusField | None, typer.Argument(help="Print only this value, for scripts.")] = None,
    output: OutputOption = OutputFormat.table,
) -> None:
    """Show the addresses of the running `hookstream up`, also those that it chose itself.

    Exits with 4 if none is running with the data folder (HOOKSTREAM_DATA_DIR, default .hookstream).

    Examples:
        hookstream status
        export API=$(hookstream status api_url)
    """

    def work() -> int:
        data_dir = process_context.settings().data_dir
        service = process_context.running(data_dir)
        if service is None:
            raise Unavailable(
                f"No `hookstream up` is running with the data folder {data_dir}. Start one with  hookstream up  or "
                "set HOOKSTREAM_DATA_DIR to the folder of a running one."
            )
        values = {
            "api_url": service.api_url,
            "bootstrap": service.bootstrap,
            "dashboard": f"{service.api_url}/ui",
            "pid": service.pid,
        }
        if field is not None:
            print(values[field.value])
        else:
            show_one(values, output)
        return 0

    process_context.guarded(work)
