"""The service's command, with caches that are full within minutes.

As shipped, the tables of a process may take 128 MiB (docs/deploy/sizing.md) and a connection to SQLite 64 MiB, and need
hours of this load to fill them: growth that no leak explains. The process writes what its memory consists of into
`memory.json` in its data folder. With `SOAK_TRACE` set, the process traces its allocations:
SIGUSR1 appends those that were added since the signal before to `heap.txt` in its data folder.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

from app.cli.main import main
from tests.soak import allocators
from tests.soak.judgement import WRITE_BUFFERS_BYTES
from tests.soak.resources import FIGURES

#: roles with tables, and with a database
_TABLES = {"fanout", "sequencer", "health", "replay"}
_DATABASE = {"projection", "api"}
_SHOWN = 40


def shrink_tables() -> None:
    """Caches of RocksDB."""
    from app.adapters.faust import store_options

    store_options.CACHE_BYTES = 1 << 18
    store_options.WRITE_BUFFERS_BYTES = WRITE_BUFFERS_BYTES
    store_options._WRITE_BUFFER_BYTES = 1 << 16  # RocksDB's least
    store_options._ALLOCATION_BYTES = 1 << 13


def shrink_database() -> None:
    """The cache of SQLite."""
    from app.adapters.sql import database

    database.SQLITE_CACHE_KIB = 1024


class Heap:
    """What was allocated since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: tracemalloc.Snapshot | None = None
        tracemalloc.start(4)
        signal.signal(signal.SIGUSR1, self.write)

    def write(self, *_: object) -> None:
        """Append the differences, by line and by type."""
        gc.collect()
        now = tracemalloc.take_snapshot()
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"== {tracemalloc.get_traced_memory()[0]:,} bytes, {len(gc.get_objects()):,} objects\n")
            for line in now.compare_to(self._before, "traceback")[:_SHOWN] if self._before else ():
                where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(line.traceback))
                file.write(f"{line.size_diff:+,} bytes, {line.count_diff:+,} blocks  {where}\n")
            kinds = Counter(type(each).__qualname__ for each in gc.get_objects())
            file.write(", ".join(f"{kind} {number:,}" for kind, number in kinds.most_common(_SHOWN)) + "\n")
        self._before = now


if __name__ == "__main__":
    if _TABLES.intersection(sys.argv):
        shrink_tables()
    if _DATABASE.intersection(sys.argv):
        shrink_database()
    data_dir = Path(os.environ["HOOKSTREAM_DATA_DIR"])
    if "run" in sys.argv:
        allocators.watch(data_dir / FIGURES)
    if os.environ.get("SOAK_TRACE"):
        Heap(data_dir / "heap.txt")
    main()
