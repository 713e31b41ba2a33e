"""The operator's replay: the group is reset with Kafka's own tool, and everything since then is delivered again."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from pathlib import Path

from app.embedded.broker.jars import find_java, resolve
from tests.conftest import JAR_CACHE, RealBroker
from tests.e2e.harness import Service, inbox, producer
from tests.patience import PATIENCE_S

EVENTS = 200


async def stock_tool(*arguments: str) -> str:
    """`kafka-consumer-groups.sh`, which is this class."""
    jars = await resolve(JAR_CACHE, say=lambda _: None, which=shutil.which)
    java = await find_java(shutil.which)
    process = await asyncio.create_subprocess_exec(
        str(java),
        "-cp",
        ":".join(map(str, jars)),
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_reset_with_the_stock_tool_is_a_replay(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base), producer(broker.bootstrap) as kafka:
        await running.add(f"{base}/standard/free")
        await running.add(f"{base}/standard/ordered", ordering="fifo")

        async def append(first: int, last: int) -> None:
            for number in range(first, last):
                key = f"k{number % 10}"
                event = {"type": "a.b", "id": f"evt_{number}", "data": {"n": number}, "ordering_key": key}
                await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=key.encode())

        await append(0, EVENTS)
        await append(0, 20)  # a producer's duplicates
        await box.until(lambda: len(box.received) == 2 * EVENTS)
        before = {(each.path, each.event_id): each.headers["webhook-sequence"] for each in box.received}
        assert await running.stop() == 0
        told = await stock_tool(
            "--bootstrap-server",
            broker.bootstrap,
            "--group",
            f"{prefix}hookstream.fanout",
            "--topic",
            f"{prefix}events.raw",
            "--reset-offsets",
            "--to-earliest",
            "--execute",
        )
        assert f"{prefix}events.raw" in told
        box.received.clear()
        await running.start()
        await append(EVENTS, EVENTS + 10)
        everything = {(path, f"evt_{number}") for path, _ in before for number in range(EVENTS + 10)}
        await box.until(lambda: {(each.path, each.event_id) for each in box.received} >= everything)
        again = [each for each in box.received if "webhook-replay" in each.headers]
        new = [each for each in box.received if "webhook-replay" not in each.headers]
        assert {(each.path, each.event_id): each.headers["webhook-sequence"] for each in again} == before
        times = Counter((each.path, each.event_id) for each in again)
        assert sum(times.values()) - len(times) <= EVENTS, "a rebalance may repeat a batch, and no more"
        assert {each.event_id for each in new} == {f"evt_{number}" for number in range(EVENTS, EVENTS + 10)}
        for key in {each.headers["webhook-ordering-key"] for each in again}:
            line = [
                int(each.headers["webhook-sequence"])
                for each in box.received
                if each.path == "/standard/ordered" and each.headers["webhook-ordering-key"] == key
            ]
            firsts = list(dict.fromkeys(line))
            assert firsts == sorted(firsts), "in order, also while replaying"
        assert await running.stop() == 0
