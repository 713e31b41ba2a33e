"""`hookstream up`: the whole service on this machine, with a demo if wanted."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from app.cli.connect import process_context
from app.settings import UP_DEFAULTS


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Start a receiver and send every product's example events.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="With --demo: exit with 0 once all events have arrived.")
    ] = False,
) -> None:
    """Start Kafka (unless HOOKSTREAM_BOOTSTRAP_SERVERS names yours), the topics and all roles; Ctrl-C stops it all.

    Everything is kept in HOOKSTREAM_DATA_DIR (.hookstream): endpoints are there again at the next start.

    Examples:
        hookstream up --demo
        hookstream up --demo --once
    """
    if once and not demo:
        raise typer.BadParameter("--once goes with --demo")

    def serve() -> NoReturn:
        from app.cli.serving.up_process import run_everything

        run_everything(demo=demo, once=once)

    process_context.service(serve, log_format=UP_DEFAULTS["LOG_FORMAT"])
