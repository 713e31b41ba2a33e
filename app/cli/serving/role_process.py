"""The process of `hookstream run`. Apart from the command, whose help needs none of this."""

from __future__ import annotations

import asyncio
import signal
from importlib.metadata import version
from itertools import count
from typing import NoReturn

import structlog

from app.adapters.http.web_server import PROBE_LIMITS, WebServer, web_application
from app.adapters.kafka.clients import KafkaClients
from app.adapters.private_folder import make_private
from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.telemetry import logs
from app.cli.connect import process_context
from app.core.errors import Unavailable
from app.core.exit_codes import ExitCode
from app.runtime.build.shared import ListenAddress
from app.runtime.process import Process
from app.runtime.roles import present_roles
from app.runtime.topics import topics_of
from app.settings import Settings, differing

log = structlog.get_logger(__name__)

#: a process with a stuck role ends in order if it can within that time
_STUCK_STOP_S = 5.0
_PATIENCE_S = (1.0, 2.0, 5.0, 10.0)


def run_roles(roles: list[str]) -> NoReturn:
    """Run these roles, or all, until a signal; ends the process."""
    settings = process_context.settings()
    make_private(settings.data_dir)
    logs.configure(style=settings.log_format, level=settings.log_level)
    chosen = list(present_roles(settings)) if "all" in roles else roles
    clients, ring = process_context.clients(connect_s=None), process_context.keyring(settings)
    process_context.serve(_run(settings, clients, ring, chosen), log_format=settings.log_format)


async def _run(settings: Settings, clients: KafkaClients, ring: AesKeyRing, roles: list[str]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    address = ListenAddress(settings.api_host, settings.api_port, elsewhere=process_context.left_open("API_PORT"))
    process = Process(settings, clients, topics_of(settings), ring, roles, address)
    probes = WebServer(
        settings.api_host if settings.api_host != "127.0.0.1" else "0.0.0.0",
        settings.metrics_port,
        process.probes(web_application()),
        setting="HOOKSTREAM_METRICS_PORT",
        limits=PROBE_LIMITS,
    )
    port = await probes.start()
    process.own_ports.add(port)
    log.info(
        "process.started",
        version=version("hookstream"),
        roles=roles,
        kafka=clients.connection.bootstrap,
        metrics_port=port,
        settings=differing(settings),
    )
    try:
        code = await _serve(process, stop)
    finally:
        await probes.stop()
    log.info("process.stopped", exit_code=code)
    return code


async def _serve(process: Process, stop: asyncio.Event) -> int:
    why = await until_stopped(process, stop) if await start_patiently(process, stop) else None
    if why is None:
        log.info("process.stopping")
        return ExitCode.DONE if await process.stop() else ExitCode.FAILED
    log.critical("process.stuck", reason=why, exit_code=ExitCode.STUCK)
    await asyncio.wait([asyncio.create_task(process.stop())], timeout=_STUCK_STOP_S)
    return ExitCode.STUCK


async def until_stopped(process: Process, stop: asyncio.Event) -> str | None:
    """Wait for a signal to stop (returns None), or until a role cannot be restarted (returns the reason)."""
    stopped, given_up = asyncio.create_task(stop.wait()), asyncio.create_task(process.given_up())
    await asyncio.wait([stopped, given_up], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    given_up.cancel()
    return given_up.result() if given_up.done() and not given_up.cancelled() else None


async def start_patiently(process: Process, stop: asyncio.Event) -> bool:
    """Start, waiting for Kafka if it is unavailable. False if the process was stopped before."""
    stopped = asyncio.create_task(stop.wait())
    try:
        for turn in count():
            starting = asyncio.create_task(process.start())
            await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return False
            try:
                starting.result()
            except Unavailable as error:
                pause = _PATIENCE_S[min(turn, len(_PATIENCE_S) - 1)]
                log.warning("process.waiting_for_kafka", reason=str(error), again_in_s=pause)
                await asyncio.wait([stopped], timeout=pause)
                if stopped.done():
                    return False
            else:
                return True
    finally:
        stopped.cancel()
    return False
