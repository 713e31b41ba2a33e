"""Folders of tables on a real RocksDB: an outdated one is made again, as removals are not told for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from faust.types import TP

from app.adapters.faust.app_builder import build_app
from app.adapters.faust.tables import BatchTable
from app.core.table_recovery import TRUSTED_S, TableRecovery
from app.roles.sequencer.key_queue import KeyQueue
from app.roles.sequencer.table_versions import later_queue
from tests.fakes.clock import FakeClock
from tests.kafka import clients_at

LINE = b"ep\nk"
PLACE = TP("hookstream.sequencer-queues-changelog", 0)
BUSY = msgspec.msgpack.encode(KeyQueue(applied=10, in_flight=10))


@asynccontextmanager
async def worker(folder: Path, clock: FakeClock, *, trusted_s: float | None = TRUSTED_S) -> AsyncIterator[BatchTable]:
    """A process that has the partition; recovery is up to the test."""
    app = build_app(
        group="hookstream.sequencer",
        clients=clients_at("localhost:1"),
        source_topic="deliveries.ordered",
        data_dir=str(folder),
        store="rocksdb",
        client_id="c",
        session_s=10.0,
    )
    table = app.batch_table("queues", 1, None, TableRecovery(later_queue, trusted_s))
    table.data._clock = clock
    yield table
    await table.close()


def removal(offset: int) -> Any:
    return SimpleNamespace(message=SimpleNamespace(tp=PLACE, partition=0, offset=offset, key=LINE, value=None))


async def test_a_tombstone_alone_in_the_changelog_does_not_restore_a_key_queue(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    async with worker(tmp_path, clock) as table:
        table.persisted_offset(PLACE)
        table.write(0, {LINE: BUSY})
    await clock.advance(7200)  # another worker has settled it; what it wrote before the removal was compacted
    async with worker(tmp_path, clock) as table:
        table.persisted_offset(PLACE)
        table.apply_changelog_batch([removal(90)])
        assert table.read(0, LINE) is None, "it would wait for ever"


async def test_a_recently_used_folder_is_used_again(tmp_path: Path) -> None:
    clock = FakeClock()
    for _ in range(3):
        async with worker(tmp_path, clock) as table:
            table.persisted_offset(PLACE)
            table.write(0, {b"ep\nother": BUSY})
            await clock.advance(TRUSTED_S - 60)
            table.write(0, {LINE: BUSY})
        await clock.advance(TRUSTED_S - 60)
    async with worker(tmp_path, clock) as table:
        table.persisted_offset(PLACE)
        assert table.read(0, LINE) == BUSY


async def test_a_long_suspended_worker_does_not_renew_the_age_of_its_folder(tmp_path: Path) -> None:
    clock = FakeClock()
    async with worker(tmp_path, clock) as table:
        table.persisted_offset(PLACE)
        table.write(0, {LINE: BUSY})
        await clock.advance(7200)
        table.write(0, {b"ep\nother": BUSY})
    async with worker(tmp_path, clock) as table:
        table.persisted_offset(PLACE)
        assert table.read(0, LINE) is None


async def test_a_table_whose_keys_are_never_removed_keeps_its_folder(tmp_path: Path) -> None:
    clock = FakeClock()
    for _ in range(2):
        async with worker(tmp_path, clock, trusted_s=None) as table:
            assert table.persisted_offset(PLACE) is None
            table.write(0, {LINE: BUSY})
        await clock.advance(1_000_000)
    async with worker(tmp_path, clock, trusted_s=None) as table:
        assert table.read(0, LINE) == BUSY


async def test_two_rebalances_in_a_row_empty_no_folder_that_is_being_recovered(tmp_path: Path) -> None:
    async with worker(tmp_path, FakeClock()) as table:
        assert table.persisted_offset(PLACE) is None
        table.data.set_persisted_offset(PLACE, 90)  # a part of the changelog was read
        assert table.persisted_offset(PLACE) == 90


async def test_a_replaced_folder_is_recovered_from_the_beginning(tmp_path: Path) -> None:
    clock = FakeClock()
    async with worker(tmp_path, clock) as table:
        table.data.set_persisted_offset(PLACE, 90)
    async with worker(tmp_path, clock) as table:
        assert table.persisted_offset(PLACE) == -1, "with None Faust goes on where it has been before"
        table.data._db_for_partition(0).put(table.data.offset_key, b"no number")
        table.write(0, {LINE: BUSY})
        assert table.persisted_offset(PLACE) == -1
