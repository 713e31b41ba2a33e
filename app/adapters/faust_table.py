"""Faust tables that are read and written per partition and in batches, and rebuilt from their changelog topics.

Rules of this file
- A write goes to the local store at once and to the changelog by the caller's own producer, whose acknowledgement the
  caller awaits before the batch counts as done. A crash in between leaves the write on this disk only: what is
  written must be right when it is written again.
- While a partition is ours nobody else writes to its changelog. Whatever the changelog has at some moment is therefore
  in the local store too: `persisted` notes such an end from time to time, and recovery reads on from there.
- The changelog is the truth. A local store that is damaged or knows offsets that the topic does not have is deleted.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import faust
import rocksdict
import structlog
from faust.types import TP

from app.core.errors import Defect
from app.ports import Record

log = structlog.get_logger(__name__)

#: no key of ours: callers' keys begin with a tenant's name or are words
_OFFSET_KEY = b"\0offset"
_CACHE_BYTES = 32 * 1024 * 1024
_WRITE_BUFFER_BYTES = 4 * 1024 * 1024

Items = Mapping[bytes, bytes | None]


class Store(Protocol):
    """The entries of one partition of one table."""

    def get(self, key: bytes) -> bytes | None:
        """The value, None: no entry."""
        ...

    def write(self, items: Items, offset: int | None) -> None:
        """Set entries (None deletes) and, unless None, the changelog offset up to which the store is complete."""
        ...

    def offset(self) -> int | None:
        """That offset."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...

    def destroy(self) -> None:
        """Close and delete everything."""
        ...


class MemoryStore:
    """Entries that live as long as the partition is ours."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._offset: int | None = None
        self.get = self._entries.get

    def write(self, items: Items, offset: int | None) -> None:
        """See `Store`."""
        for key, value in items.items():
            if value is None:
                self._entries.pop(key, None)
            else:
                self._entries[key] = value
        if offset is not None:
            self._offset = offset

    def offset(self) -> int | None:
        """See `Store`."""
        return self._offset

    def close(self) -> None:
        """See `Store`."""

    def destroy(self) -> None:
        """See `Store`."""
        self._entries.clear()
        self._offset = None


class DiskStore:
    """Entries in a RocksDB of their own; what was written survives the process, not necessarily the machine."""

    def __init__(self, folder: Path, cache: rocksdict.Cache) -> None:
        self._folder = folder
        self._options = _options(cache)
        try:
            self._db = self._open()
        except Exception as error:
            if "Corruption" not in str(error):
                raise Defect(f"{folder} cannot be opened: {error}") from error
            log.error("table.damaged", folder=str(folder), error=str(error), action="rebuilt from its changelog")
            shutil.rmtree(folder)
            self._db = self._open()
        self.get: Callable[[bytes], bytes | None] = self._db.get

    def _open(self) -> rocksdict.Rdict:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        return rocksdict.Rdict(str(self._folder), options=self._options)

    def write(self, items: Items, offset: int | None) -> None:
        """See `Store`; all or nothing."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        if offset is not None:
            batch.put(_OFFSET_KEY, b"%d" % offset)
        self._db.write(batch)

    def offset(self) -> int | None:
        """See `Store`."""
        stored = self._db.get(_OFFSET_KEY)
        return int(stored) if stored is not None else None

    def close(self) -> None:
        """See `Store`."""
        self._db.close()

    def destroy(self) -> None:
        """See `Store`; empty and open again afterwards."""
        self._db.close()
        shutil.rmtree(self._folder)
        self._db = self._open()
        self.get = self._db.get


def new_cache() -> rocksdict.Cache:
    """The block cache that all stores of an app share."""
    return rocksdict.Cache(_CACHE_BYTES)


def _options(cache: rocksdict.Cache) -> rocksdict.Options:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(128)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(1024 * 1024)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    blocks = rocksdict.BlockBasedOptions()
    blocks.set_block_cache(cache)
    blocks.set_bloom_filter(10, False)
    blocks.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(blocks)
    return options


class BatchTable(faust.Table[bytes, bytes]):
    """A table whose partitions are those of the app's source topic. Not a mapping: see `get`."""

    def __init__(
        self, app: faust.App, *, name: str, changelog: str, partitions: int, open_store: Callable[[int], Store]
    ) -> None:
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            changelog_topic=app.topic(
                changelog, partitions=partitions, acks=False, key_serializer="raw", value_serializer="raw"
            ),
        )
        #: the changelog topic's name
        self.changelog = changelog
        self._open_store = open_store
        self._stores: dict[int, Store] = {}

    # ---- for roles

    def get(self, partition: int, key: bytes) -> bytes | None:  # a dict per partition
        """The value as this worker has written it last, None: no entry. `Defect` if the partition is not ours."""
        return self._store_of(partition).get(key)

    def put_batch(self, partition: int, items: Items) -> None:
        """Write to the local store, at once; None deletes. The caller appends the same items to the changelog."""
        if items:
            self._store_of(partition).write(items, None)

    def persisted(self, partition: int, offset: int) -> None:
        """The local store has all that the changelog has up to `offset`; nothing if the partition has gone."""
        store = self._stores.get(partition)
        if store is not None and offset > (store.offset() or -1):
            store.write({}, offset)

    def partitions(self) -> list[TP]:
        """The changelog partitions that are ours."""
        return [TP(self.changelog, partition) for partition in self._stores]

    # ---- for recovery

    def recover(self, partition: int, records: Sequence[Record]) -> None:
        """Apply changelog records."""
        items = {record.key: record.value for record in records if record.key is not None}
        self._store_of(partition).write(items, records[-1].offset)

    def forget(self, partition: int) -> None:
        """Delete the local store's contents: the changelog has nothing to do with them."""
        self._store_of(partition).destroy()

    def persisted_offset(self, tp: TP) -> int | None:
        """The changelog offset up to which the local store is complete."""
        return self._store_of(tp.partition).offset()

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Open the stores of our partitions, close the others."""
        ours = {tp.partition for tp in assigned if tp.topic == self.changelog}
        for partition in self._stores.keys() - ours:
            self._stores.pop(partition).close()
        for partition in sorted(ours - self._stores.keys()):
            self._stores[partition] = self._open_store(partition)

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Nothing to do: records were applied as they came."""

    async def on_start(self) -> None:
        """Faust's own store and topic declaration stay out of it."""

    async def on_stop(self) -> None:
        """See `close`."""
        self.close()

    def close(self) -> None:
        """Close all stores; twice is fine. Writing afterwards is a `Defect`."""
        while self._stores:
            self._stores.popitem()[1].close()

    def _store_of(self, partition: int) -> Store:
        try:
            return self._stores[partition]
        except KeyError:
            raise Defect(f"partition {partition} of table {self.name} is not ours") from None

    @property
    def data(self) -> Any:
        """Not there: a table of Faust has one mapping for all partitions."""
        raise Defect(f"table {self.name} is read and written by partition")
