"""`hookstream receiver`: a webhook receiver that verifies and shows requests, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from app.adapters.clock import SystemClock
from app.cli.connect import process_context
from app.core import default_ports


def receiver(
    port: Annotated[int, typer.Option(help="0 = any free one.")] = default_ports.RECEIVER,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    secret: Annotated[
        list[str] | None,
        typer.Option(help="PATH=PROFILE:SECRET: verify requests to PATH, also with a public key, whpk_…. Repeatable."),
    ] = None,
    fault: Annotated[
        str | None,
        typer.Option(
            help="Misbehave: status:500*3,200 · delay:2 · hang · reset · redirect:URL · bigbody:N · badtls · garbage"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print each request.")] = False,
) -> None:
    """Receive webhooks at /<profile>[/…]; GET / lists the last 1,000 as JSON, GET /stats counts them.

    Faults can also be asked for in the path of an endpoint's URL: /bota?fault=status:500,200

    Examples:
        hookstream receiver
        hookstream receiver --fault 'status:500*3,200'
    """

    from app.cli.serving.up_process import console, print_arrival
    from app.embedded.receiver.faults import FaultScript
    from app.embedded.receiver.receiver import DemoReceiver

    async def work() -> int:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        server = DemoReceiver(
            clock=SystemClock(),
            host=host,
            port=port,
            secrets=_secrets(secret or []),
            faults=FaultScript.parse(fault) if fault else None,
            on_request=None if quiet else print_arrival,
        )
        console.print(f"Receiver {await server.start()}", highlight=False)
        try:
            await stop.wait()
        finally:
            await server.stop()
        return 0

    process_context.guarded(lambda: process_context.run(work()))


def _secrets(given: list[str]) -> dict[str, tuple[str, str]]:
    secrets = {}
    for text in given:
        path, equals, rest = text.partition("=")
        profile, colon, plain = rest.partition(":")
        if not (equals and colon and path and profile and plain):
            raise typer.BadParameter(f"secret {text!r}: write it as PATH=PROFILE:SECRET")
        secrets[path] = (profile, plain)
    return secrets
