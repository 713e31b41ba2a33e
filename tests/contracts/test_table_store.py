"""The tables' stores on disk: small, whole after being opened again, and with one bound on memory for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.adapters.faust import store_options
from app.adapters.faust.app import BatchApp
from app.adapters.faust.app_builder import build_app
from app.adapters.faust.store_options import SharedMemory, shared_memory
from app.adapters.faust.tables import BatchTable
from app.core.records.idempotency_entry import AcceptedRecord, encode
from app.roles.fanout.plan import table_key
from app.runtime.build.streams import TABLES
from tests.kafka import clients_at
from tests.patience import LOOKS

KEYS = 50_000
#: of write buffers: a sixteenth of what a process has
BUDGET = 4 * 1024 * 1024
FLUSHES = ("mem-table-flush-pending", "num-running-flushes", "num-immutable-mem-table")
#: as many stores for this budget as 160 for the whole one
MANY = 10


@pytest.fixture
def own_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedMemory]:
    """The memory of stores, small and of this test alone."""
    monkeypatch.setattr(store_options, "WRITE_BUFFERS_BYTES", BUDGET)
    shared_memory.cache_clear()
    yield shared_memory()
    shared_memory.cache_clear()


def app(folder: Path, store: str = "rocksdb") -> BatchApp:
    return build_app(
        group="g",
        clients=clients_at("nobody:1"),
        source_topic="none",
        data_dir=str(folder),
        store=store,
        client_id="test",
        session_s=10.0,
    )


def table(of: BatchApp, name: str = "idempotency") -> BatchTable:
    made = of.batch_table(name, 2, TABLES[name])
    for partition in range(2):
        made.data._db_for_partition(partition)
    return made


def value(number: int) -> bytes:
    return encode((AcceptedRecord(1, 1_000_000 + number, 1_790_000_000_000 + number, number),))


def close(*tables: BatchTable) -> None:
    for each in tables:
        for partition in range(2):
            each.data._db_for_partition(partition).close()


def test_a_key_takes_at_most_64_bytes_on_disk_and_is_there_after_a_restart(tmp_path: Path) -> None:
    first = table(app(tmp_path))
    first.write(1, {table_key("t", "live", f"k{number}"): value(number) for number in range(KEYS)})
    first.write(1, {table_key("t", "live", "k0"): None})
    store = first.data._db_for_partition(1)
    store.flush()
    store.compact_range(None, None)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*.sst")) <= 64 * KEYS
    close(first)
    again = table(app(tmp_path))
    for number in (1, KEYS // 2, KEYS - 1):
        assert again.read(1, table_key("t", "live", f"k{number}")) == value(number)
        assert again.read(0, table_key("t", "live", f"k{number}")) is None, "another partition's"
    assert again.read(1, table_key("t", "live", "k0")) is None
    close(again)


def test_a_store_that_is_opened_again_forgets_nothing_and_uses_the_shared_memory(
    tmp_path: Path, own_memory: SharedMemory
) -> None:
    names = [b"%016d" % number for number in range(3_000)]

    def rewrite(made: BatchTable) -> None:
        for partition in range(2):
            made.write(partition, {name: value(number) for number, name in enumerate(names)})
            made.data._db_for_partition(partition).flush()

    for life in range(3):
        made = table(app(tmp_path))
        rewrite(made)
        for partition in range(2):  # a file of another life and one of this one become one file
            made.data._db_for_partition(partition).compact_range(None, None)
            missing = [name for name in names if made.read(partition, name) is None]
            assert not missing, f"life {life}, partition {partition}: {len(missing)} keys are lost"
        assert own_memory.cache.get_usage() > 0, f"life {life}: blocks are in a cache that nobody bounds"
        close(made)


def test_all_stores_of_a_process_share_their_memory(tmp_path: Path) -> None:
    tables = [table(app(tmp_path / name), name) for name in TABLES]
    for each in tables:
        each.write(0, {b"k": b"v"})
    assert {each.data.rocksdb_options._shared for each in tables} == {shared_memory()}
    assert tables[0].data.rocksdb_options.ttl == TABLES["idempotency"]
    assert [each.read(0, b"k") for each in tables] == [b"v"] * len(tables)
    close(*tables)


def flushed(stores: Sequence[Any]) -> None:
    """Wait until no full buffer is being written to a file: RocksDB does that in threads of its own."""
    for _ in range(LOOKS):
        if not any(store.property_int_value(f"rocksdb.{name}") for store in stores for name in FLUSHES):
            return
        time.sleep(0.01)
    raise AssertionError("the buffers are not written")


def test_write_buffers_reach_their_budget_and_stay_there(tmp_path: Path, own_memory: SharedMemory) -> None:
    made = table(app(tmp_path))
    stores = [made.data._db_for_partition(partition) for partition in range(2)]
    used = []
    for step in range(40):
        for store in (0, 1):
            made.write(store, {b"%d" % number: bytes(64) for number in range(step * 2000, step * 2000 + 2000)})
        flushed(stores)
        used.append(sum(store.property_int_value("rocksdb.cur-size-active-mem-table") for store in stores))
    assert BUDGET // 2 <= max(used[:20]) <= BUDGET
    assert max(used[20:]) <= BUDGET, "four times as many entries"
    assert own_memory.write_buffers.get_usage() > 0
    close(made)


def test_many_stores_with_few_entries_write_no_files(tmp_path: Path, own_memory: SharedMemory) -> None:
    made = app(tmp_path).batch_table("many", MANY, TABLES["idempotency"])
    for number in range(40):
        for partition in range(MANY):
            made.write(partition, {b"%d" % number: value(number)})
    assert own_memory.write_buffers.get_usage() < BUDGET
    assert list(tmp_path.rglob("*.sst")) == []
    for partition in range(MANY):
        made.data._db_for_partition(partition).close()


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
def test_a_scan_finds_the_keys_with_a_prefix_in_their_order_and_no_others(tmp_path: Path, store: str) -> None:
    whole = app(tmp_path, store)
    made = whole.batch_table("lines", 2)
    made.write(1, {b"ep\nb": b"2", b"ep\na": b"1", b"ep": b"0", b"epilogue\na": b"3", b"\xff": b"4", b"ep\nc": b"5"})
    made.write(1, {b"ep\nc": None})
    assert made.scan(1, b"ep\n") == [(b"ep\na", b"1"), (b"ep\nb", b"2")]
    assert made.scan(1, b"nobody\n") == []
    if store == "rocksdb":
        close(made)
