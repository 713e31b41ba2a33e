"""The process of `hookstream up`. Apart from the command, whose help needs none of this."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog
from rich.console import Console
from rich.table import Table

from app.adapters.private_folder import make_private
from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.telemetry import logs
from app.cli.connect import process_context
from app.core.errors import Unavailable
from app.core.exit_codes import ExitCode
from app.embedded.receiver.receiver import Received
from app.runtime.demo import Demo
from app.runtime.service import Service
from app.settings import Settings, differing

_ARRIVAL_S = 60.0
#: roles, connections and the broker have limits of their own; together they cannot take longer
_STOP_S = 60.0

console = Console()
log = structlog.get_logger(__name__)


def run_everything(*, demo: bool, once: bool) -> NoReturn:
    """Run Kafka, topics and all roles until a signal; ends the process."""
    settings = process_context.settings(development=True)
    make_private(settings.data_dir)
    logs.configure(style=settings.log_format, level=settings.log_level)
    other = process_context.running(settings.data_dir)
    if other is not None:
        raise Unavailable(
            f"`hookstream up` is running already with {settings.data_dir} (process {other.pid}, {other.api_url}). "
            "Stop it, or choose another HOOKSTREAM_DATA_DIR."
        )
    ring = process_context.keyring(settings, create=True)
    settings = process_context.with_operator_token(settings)
    process_context.serve(_run(settings, ring, demo=demo, once=once), log_format=settings.log_format)


async def _run(settings: Settings, ring: AesKeyRing, *, demo: bool, once: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _on_signal, stop)
    explicit = "HOOKSTREAM_REPLICATION_FACTOR" in os.environ or settings.bootstrap_servers is None
    elsewhere = process_context.left_open("API_PORT")
    service = Service(settings, ring, say=_say, explicit_replication=explicit, elsewhere=elsewhere)
    log.info("process.started", version=version("hookstream"), settings=differing(settings))
    work = asyncio.create_task(_serve(service, settings, ring, stop, demo=demo, once=once))
    stopped, stuck = asyncio.create_task(stop.wait()), asyncio.create_task(service.given_up())
    clean = False
    try:
        await asyncio.wait([work, stopped, stuck], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            code = work.result()
        else:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            code = ExitCode.DONE
            if stuck.done() and not stop.is_set():
                console.print(f"[red]{stuck.result()}[/] and building it anew has not helped: ending", highlight=False)
                code = ExitCode.STUCK
    finally:
        stuck.cancel()
        if stop.is_set():
            console.print("stopping …", highlight=False)
        stopping = asyncio.create_task(service.stop())
        await asyncio.wait([stopping], timeout=_STOP_S)
        clean = stopping.done() and stopping.result()
    code = code or (ExitCode.DONE if clean else ExitCode.FAILED)
    log.info("process.stopped", exit_code=code)
    return code


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(ExitCode.INTERRUPTED)  # asked twice: at once; Java follows by itself
    stop.set()


async def _serve(
    service: Service, settings: Settings, ring: AesKeyRing, stop: asyncio.Event, *, demo: bool, once: bool
) -> int:
    await service.start()
    note = settings.data_dir / "up.json"
    try:
        _leave_note(note, service)
        console.print(f"Kafka [bold]{service.bootstrap}[/]  ·  API [bold]{service.api_url}[/]  ·  /readyz /metrics")
        _tell_dashboard(service.api_url, settings)
        if demo:
            return await _show(service, ring, settings.data_dir, stop, once=once)
        console.print(
            "Ready. Add a receiver with  hookstream endpoints add URL --events '*'  and append events with  "
            "hookstream events send FILE. Ctrl-C stops.",
            highlight=False,
        )
        await stop.wait()
        return 0
    finally:
        note.unlink(missing_ok=True)


def _tell_dashboard(api_url: str, settings: Settings) -> None:
    token = (
        "HOOKSTREAM_ADMIN_TOKEN" if not process_context.left_open("ADMIN_TOKEN") else settings.data_dir / "admin.token"
    )
    console.print(
        f"Dashboard [bold]{api_url}/ui[/]  ·  sign in with the operator's token: {token}",
        highlight=False,
        soft_wrap=True,
    )


def _leave_note(note: Path, service: Service) -> None:
    running = process_context.RunningService(pid=os.getpid(), bootstrap=service.bootstrap, api_url=service.api_url)
    fresh = note.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(running))
    fresh.replace(note)


async def _show(service: Service, ring: AesKeyRing, data_dir: Path, stop: asyncio.Event, *, once: bool) -> int:
    demo = Demo(service.clients, service.topics, ring, port=_demo_port(data_dir), on_request=print_arrival)
    base = await demo.start()
    (data_dir / "demo.port").write_text(base.rsplit(":", 1)[1], encoding="ascii")
    try:
        console.print(f"Receiver [bold]{base}[/]: verifies each product's signature")
        expected = await demo.send()
        missing = await demo.all_arrived(_ARRIVAL_S)
        _summary(list(expected.values()), [expected[each] for each in missing])
        if once:
            return ExitCode.FAILED if missing else ExitCode.DONE
        console.print(
            "Ctrl-C stops. Send more with  hookstream events send FILE --tenant demo-standard", highlight=False
        )
        await stop.wait()
        return 0
    finally:
        await demo.stop()


def _demo_port(data_dir: Path) -> int:
    try:
        return int((data_dir / "demo.port").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def print_arrival(received: Received) -> None:
    """One line for one request."""
    at = datetime.fromtimestamp(received.at_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    mark = "[green]signature valid[/]" if received.verified else f"[red]{received.reason or 'not verified'}[/]"
    console.print(
        f"{at}  {received.profile:<11}{received.event_type or '?':<34}"
        f"attempt {received.attempt or '?'}  {received.status}  {mark}",
        highlight=False,
        soft_wrap=True,
    )


def _summary(expected: list[tuple[str, str]], missing: list[tuple[str, str]]) -> None:
    table = Table("product", "events sent", "arrived, signature valid", title="What arrived")
    sent, lost = Counter(profile for profile, _ in expected), Counter(profile for profile, _ in missing)
    for profile, number in sent.items():
        table.add_row(profile, str(number), str(number - lost[profile]))
    table.add_row("all", str(len(expected)), str(len(expected) - len(missing)), style="bold")
    console.print(table)
    for profile, event_type in missing:
        console.print(f"[red]missing: {profile} {event_type}[/]")


def _say(sentence: str) -> None:
    console.print(f"· {sentence}", style="dim", highlight=False)
