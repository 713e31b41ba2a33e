"""Restart three workers one after the other under slow requests: python -m tests.faults.rolling [--static] [--stop S]

Prints how many requests were sent a second time, how often, and how many partitions moved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from app.embedded.broker.broker import EmbeddedBroker
from tests.conftest import JAR_CACHE
from tests.e2e.harness import Service, producer
from tests.faults.receiver import Manners, Receiver

WORKERS, ENDPOINTS, EVERY_S = 3, 12, 2.0


async def play(bootstrap: str, folder: Path, *, static: bool, stop_s: float | None, takes_s: float) -> str:
    """One rolling restart; a line of the table."""
    workers = [_worker(bootstrap, folder, name, static=static, stop_s=stop_s) for name in ("a", "b", "c")]
    await workers[0].cli("topics", "apply")
    await asyncio.gather(*(each.start() for each in workers))
    receiver, manners = (
        Receiver(),
        [Manners(secret="", seed=1, takes_s=takes_s, exactly=True) for _ in range(ENDPOINTS)],
    )
    await receiver.start()
    for number, each in enumerate(manners):
        receiver.expect(f"/{number}", each)
        await workers[0].add(receiver.url(f"/{number}"), events="a.b", timeout="25")
    stop = asyncio.Event()
    feeding = asyncio.create_task(_feed(bootstrap, stop))
    await asyncio.sleep(15)
    moved = [await _rebalances(each) for each in workers]
    for worker in workers:
        await worker.stop()
        await worker.start()
        await asyncio.sleep(takes_s)
    stop.set()
    events = await feeding
    wanted = events * ENDPOINTS
    async with asyncio.timeout(300):
        while sum(len({hit.event_id for hit in each.hits if hit.succeeded}) for each in manners) < wanted:
            await asyncio.sleep(0.5)
    await asyncio.sleep(takes_s)
    after = [await _rebalances(each) for each in workers]
    sent = Counter((hit.path, hit.event_id) for each in manners for hit in each.hits)
    again = [times - 1 for times in sent.values() if times > 1]
    await asyncio.gather(*(each.stop() for each in workers))
    await receiver.stop()
    # a worker that was restarted counts from 0: its first assignment is one
    joined = sum(max(0, now - (before if now >= before else 1)) for before, now in zip(moved, after, strict=True))
    return f"{wanted} deliveries, {sum(again)} requests again ({len(again)} deliveries), {joined} further assignments"


def _worker(bootstrap: str, folder: Path, name: str, *, static: bool, stop_s: float | None) -> Service:
    settings = {"HOOKSTREAM_SESSION_TIMEOUT": "30"} if static else {}
    if static:
        settings["HOOKSTREAM_INSTANCE_ID"] = name
    if stop_s is not None:
        settings["HOOKSTREAM_STOP_SECONDS"] = str(stop_s)
    service = Service(bootstrap, "rolling.", folder / name, settings)
    if stop_s is None:
        service.environ.pop("HOOKSTREAM_STOP_SECONDS", None)
    return service


async def _feed(bootstrap: str, stop: asyncio.Event) -> int:
    number = 0
    async with producer(bootstrap) as kafka:
        while not stop.is_set():
            event = {"type": "a.b", "id": f"evt_{number}", "data": {}}
            await kafka.send_and_wait("rolling.events.raw", json.dumps(event).encode(), key=b"k%d" % (number % 7))
            number += 1
            await asyncio.sleep(EVERY_S)
    return number


async def _rebalances(worker: Service) -> int:
    found = re.findall(r'^hookstream_rebalances_total\{role="dispatch"\} (\S+)', await worker.metrics(), re.MULTILINE)
    return int(float(found[0])) if found else 0


async def main() -> None:
    """Play it with a broker of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--static", action="store_true")
    parser.add_argument("--stop", type=float, default=None)
    parser.add_argument("--takes", type=float, default=10.0)
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rolling-"))
    broker = EmbeddedBroker(data_dir=folder, cache_dir=JAR_CACHE)
    try:
        bootstrap = await broker.start()
        print(await play(bootstrap, folder, static=chosen.static, stop_s=chosen.stop, takes_s=chosen.takes))
    finally:
        await broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())
