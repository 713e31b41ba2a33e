"""Workers that are alive and stuck say so and end with code 70; workers that wait for Kafka do neither."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer, read, service
from tests.patience import PATIENCE_S

#: seconds; a role on a busy machine may stand still for some, and a test has to look between the first and the second
SUSPECT_S, STUCK_S, RECOVERY_S = 5, 12, 20
LIMITS: dict[str, Any] = {
    "HOOKSTREAM_WATCHDOG_SUSPECT_SECONDS": str(SUSPECT_S),
    "HOOKSTREAM_WATCHDOG_STUCK_SECONDS": str(STUCK_S),
}
EVENT = b'{"type": "a.b", "data": {}}'


@asynccontextmanager
async def broken(
    what: str, role: str, broker: RealBroker, prefix: str, folder: Path, *, ready: bool = True, **settings: str
) -> AsyncIterator[Service]:
    """A started worker with something broken inside; what it prints is in `folder`."""
    running = Service(broker.bootstrap, prefix, folder, settings, (role,))
    running.command = (sys.executable, "-m", "tests.e2e.bad_workers", what)
    await running.cli("topics", "apply", "-o", "json")
    with (folder / "printed").open("wb") as running.output:
        await (running.start() if ready else running.spawn())
        try:
            yield running
        finally:
            if running.alive:
                running.kill()
                await running.ended()


async def test_a_blocked_loop_ends_the_process_with_code_70_and_its_stack(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with broken(
        "blocked-loop", "delay", broker, prefix, tmp_path, ready=False, HOOKSTREAM_WATCHDOG_LOOP_SECONDS="1"
    ) as running:
        assert await running.ended() == 70
    printed = (tmp_path / "printed").read_text(encoding="utf-8")
    assert "most recent call first" in printed and "in hold_the_loop" in printed
    assert '"event":"loop.blocked"' in printed


async def test_a_stuck_role_says_why_on_readyz_and_then_ends_the_process_with_code_70(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        broken("frozen-fanout", "fanout", broker, prefix, tmp_path, **LIMITS) as running,
        producer(broker.bootstrap) as kafka,
    ):
        assert (await running.readiness())[0] == 200
        await kafka.send_and_wait(f"{prefix}events.raw", EVENT, partition=2)
        async with asyncio.timeout(PATIENCE_S):
            while (said := await running.readiness())[0] == 200:
                await pause(0.05)
        status, roles = said
        assert status == 503 and roles["directory"] == "ready"
        assert roles["fanout"].startswith(f"behind by 1 in {prefix}events.raw, partition 2, and nothing has moved")
        assert running.alive
        assert 'watchdog_verdicts_total{role="fanout",verdict="suspect"} 1.0' in await running.metrics()
        assert await running.ended() == 70
    assert '"event":"process.stuck"' in (tmp_path / "printed").read_text(encoding="utf-8")


@asynccontextmanager
async def gone(broker: RealBroker, running: Service, topic: str) -> AsyncIterator[None]:
    """A topic is not there for a while; nothing can be appended to it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()
    yield
    await running.cli("topics", "apply", "-o", "json")


async def test_a_spare_worker_is_ready_and_is_not_stuck(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    settings = LIMITS | {"HOOKSTREAM_PARTITIONS": "1", "HOOKSTREAM_WATCHDOG_RECOVERY_SECONDS": str(RECOVERY_S)}
    roles = ("fanout", "sequencer", "dispatch", "delay", "registry", "replay")
    async with service(broker.bootstrap, prefix, tmp_path / "one", settings, roles):
        spare = Service(broker.bootstrap, prefix, tmp_path / "spare", settings, roles)
        await spare.start()
        await stays_ready(spare, RECOVERY_S + 2)
        assert await spare.stop() == 0


async def stays_ready(running: Service, seconds: float, role: str = "") -> None:
    """Ready (the process, or a role of it) and alive at every look during that time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        status, roles = await running.readiness()
        ready = roles[role] == "ready" if role else status == 200
        assert ready and running.alive, roles
        await pause(0.1)


async def says(running: Service, metric: str) -> None:
    """Wait for the sample that says it."""
    async with asyncio.timeout(PATIENCE_S):
        while metric not in await running.metrics():
            await pause(0.1)


async def test_a_fanout_whose_appends_do_not_succeed_waits_and_is_not_stuck(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path, LIMITS, ("fanout", "registry")) as running,
        producer(broker.bootstrap) as kafka,
    ):
        await running.add("http://127.0.0.1:9/x")
        async with gone(broker, running, f"{prefix}deliveries"):
            await kafka.send_and_wait(f"{prefix}events.raw", EVENT, partition=1)
            await stays_ready(running, STUCK_S + 1, "fanout")  # the process is not: its topic is gone, and it says so
            await says(running, f'lag_records{{group="{prefix}hookstream.fanout",topic="{prefix}events.raw"}} 1.0')
        assert len(await read(broker.bootstrap, f"{prefix}deliveries", bool)) == 1
        assert "watchdog_verdicts_total{" not in await running.metrics()


async def test_transaction_markers_and_distant_retries_do_not_count_as_stuck(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path, LIMITS, ("fanout", "dispatch", "delay", "registry")) as running,
        inbox("status:500") as (box, base),
    ):
        await running.add(f"{base}/standard/x", schedule="0,3600")
        async with transactional(broker, prefix) as once, once.transaction():
            await once.send_and_wait(f"{prefix}events.raw", EVENT, partition=0)
        await box.until(lambda: len(box.received) == 1)
        assert len(await read(broker.bootstrap, f"{prefix}deliveries.delay.30m", bool)) == 1
        await stays_ready(running, STUCK_S + 1)
        await says(running, f'lag_records{{group="{prefix}hookstream.fanout",topic="{prefix}events.raw"}} 0.0')
        await says(running, f'topic="{prefix}deliveries.delay.30m"}} 1.0')
        assert "watchdog_verdicts_total{" not in await running.metrics()


@asynccontextmanager
async def transactional(broker: RealBroker, prefix: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer whose transactions leave a marker behind the last record."""
    client = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=f"{prefix}upstream")
    await client.start()
    try:
        yield client
    finally:
        await client.stop()
