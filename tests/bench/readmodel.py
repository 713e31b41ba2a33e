"""The read model: attempts per second that the projection takes, how soon they are visible, and what lists cost.

`python -m tests.bench readmodel --attempts 5000000` fills both databases so far (minutes); the default is 100,000.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

import msgspec

from app.adapters.kafka.producer import KafkaProducer
from app.adapters.sql.database import Database
from app.adapters.sql.read_store import SqlReadStore
from app.core.errors import Unavailable
from app.core.offsets.partitions import PartitionId
from app.core.records import delivery as delivery_record
from app.core.topics.names import TopicName
from tests.bench import pages, readmodel_lists
from tests.bench.pages import Pages
from tests.bench.readmodel_lists import Lists
from tests.bench.stage import Stage, cpu_seconds, pin
from tests.contracts.readmodel_kit import FAILED, attempt, delivery
from tests.e2e.harness import Service
from tests.kafka import clients_at
from tests.postgres import Postgres

_FILLED = 60_000
_RATE = 1000
_RATED_S = 15
#: of lists that are compared with the large ones
SMALL = 100_000


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Through Kafka into one database."""

    database: str
    #: with everything waiting in Kafka: attempts, each with the record of its delivery before it
    attempts_per_s: float
    cpu_us: float
    #: from Kafka's acknowledgement of an attempt to its row, at 1,000/s
    visible_p50_ms: float
    visible_p99_ms: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    flows: list[Flow]
    lists: list[Lists]
    pages: list[Pages]


async def measure(stage: Stage, attempts: int, said: Callable[[str], None]) -> Report:
    """Both databases, one after the other."""
    stage.pin_others(apart=False)
    server = Postgres()
    try:
        server.create()
        await server.start()
        flows = [await _flow(stage, None), await _flow(stage, await server.database())]
        sizes = [attempts] if attempts <= SMALL else [SMALL, attempts]
        lists, seen = [], []
        for url in (None, await server.database()):
            folder = Path(stage.folder())
            lists += await readmodel_lists.measure(Database(url, folder), sizes, said)
            seen.append(await pages.measure(stage, url, folder, attempts, said))
        return Report(flows=flows, lists=lists, pages=seen)
    finally:
        server.remove()


async def _flow(stage: Stage, url: str | None) -> Flow:
    folder = Path(stage.folder())
    settings = {"HOOKSTREAM_LOG_LEVEL": "error", "HOOKSTREAM_PARTITIONS": "12"}
    if url is not None:
        settings["HOOKSTREAM_DATABASE_URL"] = url
    prefix = f"rm{os.getpid()}{'p' if url else 's'}."
    running = Service(stage.bootstrap, prefix, folder, settings, roles=("projection",))
    await running.cli("topics", "apply")
    log = KafkaProducer(clients_at(stage.bootstrap), client_id="bench")
    await log.start([prefix + TopicName.ATTEMPTS, prefix + TopicName.DELIVERIES])
    writer = _Writer(log, prefix)
    await asyncio.gather(*[each for number in range(_FILLED) for each in await writer.write(number)])
    read = SqlReadStore(Database(url, folder))
    await running.spawn()
    pin(running.pid, stage.measured)
    try:
        per_s, cpu_us = await _caught_up(running.pid, read, 2 * _FILLED)
        cuts = quantiles(await _visible(writer, read), n=100)
    finally:
        await running.stop()
        await read.close()
        await log.close()
    return Flow(
        database="PostgreSQL" if url else "SQLite",
        attempts_per_s=per_s / 2,
        cpu_us=2 * cpu_us,
        visible_p50_ms=cuts[49],
        visible_p99_ms=cuts[98],
    )


class _Writer:
    """Appends deliveries and their attempts."""

    def __init__(self, log: KafkaProducer, prefix: str) -> None:
        self._log = log
        self._prefix = prefix

    async def write(self, number: int) -> tuple[asyncio.Future[int], asyncio.Future[int]]:
        now_ms = round(time.time() * 1000)
        one = delivery(number, endpoint_id=f"ep_{number % 200}", accepted_at_ms=now_ms)
        key = one.endpoint_id.encode()
        handed = await self._log.append(
            self._prefix + TopicName.DELIVERIES, key=key, value=b"x" * 1024, headers=delivery_record.encode(one)
        )
        record = attempt(one, now_ms, response_body='{"ok":true}', **(FAILED if number % 20 == 0 else {}))
        made = await self._log.append(self._prefix + TopicName.ATTEMPTS, key=key, value=msgspec.json.encode(record))
        return handed, made

    def place(self, number: int) -> int:
        """The partition of an attempt."""
        return self._log.partition_for(self._prefix + TopicName.ATTEMPTS, f"ep_{number % 200}".encode())


async def _caught_up(pid: int, read: SqlReadStore, records: int) -> tuple[float, float]:
    """Records per second from the first transaction to the last, and CPU microseconds for each."""
    begun: tuple[float, float, int] | None = None
    while True:
        there = sum((await _offsets(read)).values())
        now = (time.perf_counter(), cpu_seconds(pid), there)
        if begun is None and there:
            begun = now
        if begun is not None and there >= records:
            number = there - begun[2]
            return number / (now[0] - begun[0]), (now[1] - begun[1]) / number * 1e6
        await asyncio.sleep(0.02)


async def _visible(writer: _Writer, read: SqlReadStore) -> list[float]:
    """Milliseconds from the acknowledgement of attempts to their rows."""
    waiting: dict[PartitionId, float] = {}
    times: list[float] = []
    load = asyncio.create_task(_load(writer, waiting))
    while not load.done() or waiting:
        there = await _offsets(read)
        now = time.perf_counter()
        for place, acked in list(waiting.items()):
            if there.get((TopicName.ATTEMPTS, int(place[0])), 0) > place[1]:
                times.append((now - acked) * 1000)
                del waiting[place]
        await asyncio.sleep(0.005)
    load.result()
    return times


async def _load(writer: _Writer, waiting: dict[PartitionId, float]) -> None:
    begun = time.perf_counter()
    for number in range(_FILLED, _FILLED + _RATE * _RATED_S):
        due = begun + (number - _FILLED) / _RATE
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        _, made = await writer.write(number)
        partition = str(writer.place(number))

        def acked(future: asyncio.Future[int], partition: str = partition) -> None:
            waiting[partition, future.result()] = time.perf_counter()

        made.add_done_callback(acked)


async def _offsets(read: SqlReadStore) -> dict[PartitionId, int]:
    try:
        return dict(await read.read_to())
    except Unavailable:  # it is being made
        return {}
