"""The tables' stores on disk: small, whole after being opened again, and with one bound on memory for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.faust.app import BatchApp
from app.adapters.faust.app_builder import build_app
from app.adapters.faust.tables import BatchTable
from app.core.records.idempotency_entry import AcceptedRecord, encode
from app.roles.fanout.plan import table_key
from app.runtime.build.streams import TABLES
from tests.kafka import clients_at

KEYS = 50_000


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


def test_all_stores_of_a_process_share_their_memory(tmp_path: Path) -> None:
    whole = app(tmp_path)
    tables = [table(whole, name) for name in TABLES]
    for each in tables:
        each.write(0, {b"k": b"v"})
    assert len({id(each.data.rocksdb_options._shared) for each in tables}) == 1
    assert tables[0].data.rocksdb_options.ttl == TABLES["idempotency"]
    assert [each.read(0, b"k") for each in tables] == [b"v"] * len(tables)
    shared = tables[0].data.rocksdb_options._shared
    assert shared.write_buffers.get_usage() > 0, "none of them is written to beside it"
    close(*tables)


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
