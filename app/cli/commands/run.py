"""`hookstream run`: some roles in one process, on your Kafka."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from app.cli.connect import process_context
from app.runtime.roles import ROLES


def run(roles: Annotated[list[str], typer.Argument(help=f"{', '.join(ROLES)}, or all.")]) -> None:
    """Run roles in this process. Topics must exist (`hookstream topics apply`). SIGTERM drains and ends.

    /healthz, /readyz and /metrics are on HOOKSTREAM_METRICS_PORT, the management API of the role `api` on
    HOOKSTREAM_API_PORT.

    Examples:
        hookstream run all
        hookstream run dispatch delay
    """

    def serve() -> NoReturn:
        from app.cli.serving.role_process import run_roles

        run_roles(roles)

    process_context.service(serve, log_format="json")
