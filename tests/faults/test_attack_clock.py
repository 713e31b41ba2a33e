"""The wall clock of a process jumps by hours: nothing is lost, nothing stalls, nothing storms."""

from __future__ import annotations

import asyncio
import json
import mmap
import re
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidTimestampError

from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer
from tests.patience import PATIENCE_S

HOUR_S = 3600.0
YEAR_MS = 365 * 86_400_000
#: `hookstream`, with a wall clock that is off by as many seconds as a file says at that moment
PROGRAM = """
import mmap, os, struct, time
shift = mmap.mmap(os.open(os.environ.pop("SHIFT"), os.O_RDONLY), 8, prot=mmap.PROT_READ)
true_ns = time.time_ns
time.time_ns = lambda: true_ns() + int(struct.unpack("<d", shift[:8])[0] * 1e9)
time.time = lambda: time.time_ns() / 1e9
from app.cli.main import main
from tests.patience import PATIENCE_S
main()
"""


class ShiftedService(Service):
    """A service whose wall clock a test sets."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path, settings: dict[str, str]) -> None:
        super().__init__(bootstrap, prefix, folder, settings)
        shift = folder / "shift"
        shift.write_bytes(bytes(8))
        with shift.open("r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)
        self.environ["SHIFT"] = str(shift)
        self.shift_s = 0.0

    def jump(self, seconds: float) -> None:
        """Set the clock forwards, or back."""
        self.shift_s += seconds
        self._shift[:8] = struct.pack("<d", self.shift_s)

    async def start(self) -> None:
        """Start all roles in one such process."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM,
            "run",
            "all",
            env=self.environ,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        await self.until_ready()

    def cpu_s(self) -> float:
        """CPU that it has used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


class Traffic:
    """Events for three endpoints: one that takes all, one with a rate limit, and one that fails at first."""

    def __init__(self, running: ShiftedService, good: Inbox, flaky: Inbox, kafka: AIOKafkaProducer) -> None:
        self.running = running
        self.good = good
        self.flaky = flaky
        self.kafka = kafka
        self.ids: list[str] = []

    async def append(self, number: int, timestamp_ms: int | None = None) -> None:
        for _ in range(number):
            id_ = f"evt_{len(self.ids)}"
            event = {"type": "a.b", "id": id_, "data": {}, "ordering_key": f"k{len(self.ids) % 3}"}
            await self.kafka.send_and_wait(
                f"{self.running.prefix}events.raw", json.dumps(event).encode(), key=b"k", timestamp_ms=timestamp_ms
            )
            self.ids.append(id_)

    async def arrive(self, deadline_s: float = PATIENCE_S) -> None:
        """Wait until all endpoints that answer have all of them."""
        for path in ("/standard/free", "/standard/rated", "/standard/ordered"):
            await self.good.until(lambda path=path: set(self.good.ids(path)) >= set(self.ids), deadline_s)  # type: ignore[misc]

    async def settle(self, deadline_s: float = PATIENCE_S) -> None:
        """Wait until the one that fails at first has all, too."""
        wanted = set(self.ids)
        await self.flaky.until(
            lambda: {e.event_id for e in self.flaky.received if e.status == 200} >= wanted, deadline_s
        )


async def timestamps_of_all_ages(running: Service, box: Inbox, kafka: AIOKafkaProducer) -> None:
    """Producers whose clocks stand anywhere."""
    now = int(time.time() * 1000)
    topic, ids = f"{running.prefix}events.raw", []
    ages = (0, 1, now, now - 3_600_000, now + 3_500_000, now - 10 * YEAR_MS)
    for number, timestamp in enumerate((*ages, *ages)):  # the second ones are a producer's duplicates, or too late
        event = json.dumps({"type": "a.b", "id": f"age_{number % len(ages)}", "data": number}).encode()
        await kafka.send_and_wait(topic, event, key=b"k", timestamp_ms=timestamp)
        ids.append(f"age_{number % len(ages)}")
    for timestamp in (now + 10 * YEAR_MS, 1 << 62):
        try:
            await kafka.send_and_wait(topic, b'{"type":"a.b","data":1}', key=b"k", timestamp_ms=timestamp)
        except InvalidTimestampError:
            continue
        raise AssertionError("Kafka takes times that far ahead: then look what becomes of them")
    await box.until(lambda: set(box.ids()) >= set(ids))
    # ours have no producer's time at all: a worker whose clock is wrong can still write them
    for name in ("deliveries", "deliveries.delay.5s", "deliveries.dead", "attempts", "registry.replies"):
        await kafka.send_and_wait(running.prefix + name, b"", key=b"k", timestamp_ms=now + 10 * YEAR_MS)
    await kafka.send_and_wait(topic, b'{"type":"a.b","data":1,"id":"last"}', key=b"k")
    await box.until(lambda: "last" in box.ids())
    assert max(Counter(box.ids("/standard/free")).values()) == 1
    assert re.search(r'events_ingested_total\{result="duplicate"\} 6\.0', await running.metrics())


async def stands_still(running: ShiftedService) -> None:
    """What has nothing to do uses little CPU, as soon as it has nothing to do."""
    for _ in range(int(PATIENCE_S / 2)):
        used, begun = running.cpu_s(), time.monotonic()
        await pause(2)
        if running.cpu_s() - used < 0.3 * (time.monotonic() - begun):
            return
    raise AssertionError("it circles")


async def test_the_clock_may_jump_an_hour_forwards_and_back(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = ShiftedService(broker.bootstrap, prefix, tmp_path, {})
    await running.cli("topics", "apply")
    await running.start()
    async with (
        inbox() as (good, base),
        inbox("status:500*100,200") as (flaky, flaky_base),
        producer(broker.bootstrap) as kafka,
    ):
        key = await running.key("default")
        for url, fields in (
            (f"{base}/standard/free", {}),
            (f"{base}/standard/rated", {"rate_limit": 100}),
            (f"{base}/standard/ordered", {"ordering": "fifo"}),
            (f"{flaky_base}/standard/flaky", {"schedule": [0, 600, 600, 600, 1, 1, 1, 1]}),
        ):
            made = await running.ask("POST", "/v1/webhooks", {"url": url, "events": "*", **fields}, key=key)
            assert made.status == 201, made
        await timestamps_of_all_ages(running, good, kafka)
        aged = len(flaky.received)
        traffic = Traffic(running, good, flaky, kafka)
        await traffic.append(30)
        await traffic.arrive()
        await flaky.until(lambda: len(flaky.received) >= aged + 30)
        assert max(each.attempt or 0 for each in flaky.received) == 1, "the retries are due in ten minutes"
        running.jump(HOUR_S + 5)  # beyond what Kafka accepts as a producer's timestamp
        await flaky.until(
            lambda: sum(each.attempt == 2 for each in flaky.received) >= 30
        )  # now they are due, each once
        await traffic.append(30)
        await traffic.arrive()
        signed = int(good.received[-1].headers["webhook-timestamp"])
        assert abs(signed - time.time() - running.shift_s) < 30, "signatures are made with the wall clock"
        running.jump(-HOUR_S - 5)
        await traffic.append(30)
        await traffic.arrive()  # nothing is held back for an hour
        running.jump(-HOUR_S)
        await traffic.append(30)
        await traffic.arrive()
        posted = await running.ask("POST", "/v1/events", {"type": "a.b", "id": "posted", "data": {}}, key=key)
        assert posted.status == 202, posted
        traffic.ids.append("posted")
        await traffic.arrive()
        await stands_still(running)
        for _ in range(8):  # what waits comes when its time has come, in however many steps
            running.jump(HOUR_S / 2)
            await pause(0.3)
        await traffic.settle()
        attempts = Counter(each.event_id for each in flaky.received)
        assert max(attempts.values()) <= 8
        assert max(Counter((each.path, each.event_id) for each in good.received).values()) == 1
        assert "role_restarts_total{" not in await running.metrics()
        assert await running.stop() == 0
