"""Order across crashes: no two requests of one ordering key at once, and no older one after a newer one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from tests.conftest import RealBroker
from tests.e2e.harness import Service
from tests.e2e.test_fifo import append
from tests.faults.receiver import Hit, Manners, Receiver
from tests.patience import PATIENCE_S

KEYS, EVENTS, KILLS = 12, 15, 4


def overtaken(hits: list[Hit]) -> Iterator[str]:
    """Requests of a key that began while another delivery's lasted, or after a later delivery's had begun."""
    lines: dict[str, list[Hit]] = defaultdict(list)
    for hit in sorted(hits, key=lambda each: each.started):
        lines[hit.ordering_key].append(hit)
    for key, line in lines.items():
        for at, hit in enumerate(line):
            for earlier in line[:at]:
                if earlier.sequence > hit.sequence:
                    yield f"{key}: {hit.sequence} began after {earlier.sequence}"
                elif earlier.sequence != hit.sequence and hit.started < earlier.ended:
                    yield f"{key}: {hit.sequence} began while {earlier.sequence} lasted"


async def planned(running: Service, events: int) -> None:
    """Return when fan-out has committed that many: what it repeats after a crash is sent a second time, in order."""
    admin = AIOKafkaAdminClient(bootstrap_servers=running.bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                offsets = await admin.list_consumer_group_offsets(f"{running.prefix}hookstream.fanout")
                if sum(each.offset for each in offsets.values() if each.offset > 0) >= events:
                    return
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def test_kill_9_leaves_one_request_of_a_key_at_a_time(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    receiver, manners = Receiver(), Manners(secret="", seed=4, flaky=0.15, failures=1, takes_s=0.1)
    await receiver.start()
    try:
        receiver.expect("/a", manners)
        await running.add(receiver.url("/a"), ordering="fifo", schedule="0,1,1,1")
        await append(running, 0, KEYS * EVENTS, keys=KEYS)
        await planned(running, KEYS * EVENTS)
        for kill in range(KILLS):
            async with asyncio.timeout(PATIENCE_S):
                while len({hit.event_id for hit in manners.hits if hit.succeeded}) < KEYS * EVENTS * (kill + 1) // 6:
                    await asyncio.sleep(0.01)
            running.kill()
            await running.ended()
            await running.start()
        async with asyncio.timeout(PATIENCE_S):
            while len({hit.event_id for hit in manners.hits if hit.succeeded}) < KEYS * EVENTS:
                await asyncio.sleep(0.05)
        assert await running.stop() == 0
    finally:
        await receiver.stop()
    assert list(overtaken(manners.hits)) == []
