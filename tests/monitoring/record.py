"""Record incidents: `python -m tests.monitoring.record FOLDER [INCIDENT…]` runs a service for an hour, hurts it in five
ways, and leaves what Prometheus scraped in FOLDER/tsdb, and when each incident was in FOLDER/incidents.json.

`tests/monitoring/extract.py` makes the committed recordings of that.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from tests.monitoring.installation import Installation

#: seconds of health before a fault, of the fault, and for which the healthy service is recorded
BEFORE_S, FAULT_S, HEALTHY_S = 120, 450, 300
_SETTLED_S = 45


@asynccontextmanager
async def nothing_wrong(installation: Installation) -> AsyncIterator[None]:
    """The service at rest."""
    yield


@asynccontextmanager
async def endpoint_dead(installation: Installation) -> AsyncIterator[None]:
    """One of twenty endpoints refuses connections."""
    await installation.one.stop()
    yield
    await installation.one.start()


@asynccontextmanager
async def fanout_killed(installation: Installation) -> AsyncIterator[None]:
    """kill -9 of the only process with the role fanout, and nobody starts it again."""
    service = installation.processes["fanout"]
    service.kill()
    await service.ended()
    yield
    await service.start()


@asynccontextmanager
async def egress_blocked(installation: Installation) -> AsyncIterator[None]:
    """No endpoint can be connected to."""
    await installation.many.stop()
    await installation.one.stop()
    yield
    await installation.many.start()
    await installation.one.start()


@asynccontextmanager
async def broker_stopped(installation: Installation) -> AsyncIterator[None]:
    """The only broker is stopped."""
    await installation.broker.stop()
    yield
    await installation.broker.start()


@asynccontextmanager
async def tenant_floods(installation: Installation) -> AsyncIterator[None]:
    """One tenant appends forty events a second for an endpoint that takes eight."""
    flood = asyncio.create_task(installation.flood(40))
    yield
    flood.cancel()
    with suppress(asyncio.CancelledError):
        await flood


INCIDENTS: dict[str, Callable[[Installation], AbstractAsyncContextManager[None]]] = {
    each.__name__: each
    for each in (nothing_wrong, endpoint_dead, fanout_killed, egress_blocked, broker_stopped, tenant_floods)
}


async def record(folder: Path, names: list[str]) -> None:
    """Run the incidents one after the other."""
    folder.mkdir(parents=True)
    installation = Installation(folder)
    windows: dict[str, dict[str, float]] = {}
    try:
        await installation.start()
        for name in names:
            await asyncio.sleep(_SETTLED_S)
            await installation.until_quiet()
            begin = time.time()
            await asyncio.sleep(HEALTHY_S if name == "nothing_wrong" else BEFORE_S)
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
            fault = time.time()
            async with INCIDENTS[name](installation):
                await asyncio.sleep(0 if name == "nothing_wrong" else FAULT_S)
                windows[name] = {"begin": begin, "fault": fault, "end": time.time()}
                (folder / "incidents.json").write_text(json.dumps(windows), encoding="utf-8")
    finally:
        await installation.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the processes would go on without it
    asyncio.run(record(Path(sys.argv[1]), sys.argv[2:] or list(INCIDENTS)))
