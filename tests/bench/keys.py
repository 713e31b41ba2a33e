"""The table of idempotency keys alone: bytes for each key, memory, and lookups, on stores opened as fan-out opens them.

As a child it is given a `Task` and answers with a `Report`.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.adapters.faust.app_builder import build_app
from app.adapters.faust.tables import BatchTable
from app.core.records.idempotency_entry import AcceptedRecord, encode
from app.roles.fanout.plan import table_key
from app.runtime.build.streams import TABLES
from tests.bench.stage import Child, Stage, Task, answer, settings_of
from tests.kafka import clients_at

_BATCH = 1000
_LOOKUPS = 200_000
#: of one child, for each key
_PATIENCE_S = 60e-6


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; bytes are for each key."""

    keys: int
    #: key and value as fan-out gives them to the table
    state_bytes: float
    #: all files, as the writing left them
    disk_bytes: float
    compacted_bytes: float
    writes_per_s: float
    hits_per_s: float
    misses_per_s: float
    #: growth of the resident set by writing, and by all of it
    written_mib: float
    grown_mib: float


def child(task: Task) -> Report:
    """Fill, look up, compact."""
    app = build_app(
        group="bench",
        clients=clients_at(task.bootstrap),
        source_topic="none",
        data_dir=task.data_dir,
        store="rocksdb",
        client_id="bench",
        session_s=30.0,
    )
    partitions = settings_of(task).partitions
    table = app.batch_table("idempotency", partitions, TABLES["idempotency"])
    stores = [table.data._db_for_partition(number) for number in range(partitions)]
    before = _rss_mib()
    begun = time.perf_counter()
    state = sum(_write(table, partitions, first, task.count) for first in range(0, task.count, _BATCH))
    writes_per_s = task.count / (time.perf_counter() - begun)
    written_mib, disk = _rss_mib() - before, _files(task.data_dir)
    hits_per_s = _lookups(table, partitions, task.count, lambda number: number, found=True)
    misses_per_s = _lookups(table, partitions, task.count, lambda number: -1 - number, found=False)
    for store in stores:
        store.flush()
        store.compact_range(None, None)
    return Report(
        keys=task.count,
        state_bytes=state / task.count,
        disk_bytes=disk / task.count,
        compacted_bytes=_files(task.data_dir) / task.count,
        writes_per_s=writes_per_s,
        hits_per_s=hits_per_s,
        misses_per_s=misses_per_s,
        written_mib=written_mib,
        grown_mib=_rss_mib() - before,
    )


def _partition(number: int, partitions: int) -> int:
    return number // _BATCH % partitions


def _key(number: int) -> bytes:
    return table_key("acme", "live", f"recording-{number:012d}/created")


def _write(table: BatchTable, partitions: int, first: int, end: int) -> int:
    """One batch, as fan-out would write it; how many bytes keys and values have."""
    partition = _partition(first, partitions)
    items: dict[bytes, bytes | None] = {}
    state = 0
    for number in range(first, min(first + _BATCH, end)):
        sight = AcceptedRecord(partition, number // partitions, 1_790_000_000_000 + number // 10, number // 50 + 1)
        key, value = _key(number), encode((sight,))
        items[key] = value
        state += len(key) + len(value)
    table.write(partition, items)
    return state


def _lookups(table: BatchTable, partitions: int, count: int, which: Callable[[int], int], *, found: bool) -> float:
    dice = random.Random(1)
    numbers = [dice.randrange(count) for _ in range(_LOOKUPS)]
    asked = [(_partition(number, partitions), _key(which(number))) for number in numbers]
    begun = time.perf_counter()
    for partition, key in asked:
        assert (table.read(partition, key) is not None) is found
    return _LOOKUPS / (time.perf_counter() - begun)


def _files(folder: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def _rss_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def measure(stage: Stage, count: int) -> Report:
    """In a child of its own, whose memory nothing else has touched."""
    stage.pin_others(apart=False)
    task = Task(bootstrap=stage.bootstrap, prefix="", receiver="", count=count, data_dir=stage.folder())
    process = await Child.start(__spec__.name, msgspec.json.encode(task).decode())
    try:
        return msgspec.json.decode(await process.line(60 + count * _PATIENCE_S), type=Report)
    finally:
        await process.end()


if __name__ == "__main__":
    answer(child(msgspec.json.decode(sys.argv[1], type=Task)))
