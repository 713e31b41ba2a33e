"""How the tables' RocksDB stores are opened: small entries, and one bound on memory for all stores of a process.

Faust opens each partition of each table with a cache of its own, and keeps the indexes and filters of
open files outside it: memory would grow with partitions and keys. Here all stores of a process, whatever their role,
share one cache, indexes included, and one budget for write buffers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import rocksdict
from faust.stores.rocksdb import RocksDBOptions

#: blocks, indexes and filters of all stores together
CACHE_BYTES = 64 * 1024 * 1024
#: writes that are not in files yet (memtables), of all stores together
WRITE_BUFFERS_BYTES = 64 * 1024 * 1024
_WRITE_BUFFER_BYTES = 4 * 1024 * 1024
#: what a write buffer takes at once. RocksDB would take an eighth of a full one, 512 KiB: then 112 stores use up the
#: budget with a few entries each, and every store writes a file for about 20 entries
_ALLOCATION_BYTES = 32 * 1024
#: small, so that the filter of one file fits into a shard of the cache; otherwise every lookup reads it from disk
_FILE_BYTES = 8 * 1024 * 1024
_OPEN_FILES = 64
#: bits per key: one lookup in a hundred of a missing key reads a block needlessly
_FILTER_BITS = 10


class SharedMemory:
    """The block cache and the write buffers that all stores of a process share."""

    def __init__(self) -> None:
        self.cache = rocksdict.Cache(CACHE_BYTES)
        self.write_buffers = rocksdict.WriteBufferManager(WRITE_BUFFERS_BYTES, False)


@cache
def shared_memory() -> SharedMemory:
    """The one of this process: roles in one process do not add up, nor do the apps of a role that is restarted."""
    return SharedMemory()


class StoreOptions(RocksDBOptions):
    """The options of one table's stores."""

    def __init__(self, ttl_s: int | None) -> None:
        """`ttl_s`: seconds after which an entry may be dropped; None: never."""
        super().__init__(ttl=ttl_s, use_rocksdict=True)
        self._shared = shared_memory()

    def open(self, path: Path, *, read_only: bool = False) -> Any:
        """Open the store in a folder, new or not, with these options.

        rocksdict opens a store that exists with the options in its folder, unless column families are given: with a
        cache of 8 MiB of its own, and with the filter of an earlier TTL inside of the present one. That filter takes
        the end of a value for its time, and drops whatever seems to be too old.
        """
        access = rocksdict.AccessType
        store = rocksdict.Rdict(
            str(path),
            options=self.as_options(),
            column_families={"default": self.as_options()},
            access_type=access.read_write() if self.ttl is None else access.with_ttl(self.ttl),
        )
        store.set_read_options(rocksdict.ReadOptions())
        return store

    def as_options(self) -> Any:
        """See `RocksDBOptions`."""
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(self._shared.cache)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        blocks.set_bloom_filter(_FILTER_BITS, False)
        blocks.set_format_version(5)
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(blocks)
        options.set_compression_type(rocksdict.DBCompressionType.lz4())
        options.set_write_buffer_manager(self._shared.write_buffers)
        options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
        options.set_arena_block_size(_ALLOCATION_BYTES)
        options.set_max_write_buffer_number(2)
        options.set_target_file_size_base(_FILE_BYTES)
        options.set_max_open_files(_OPEN_FILES)
        options.set_max_total_wal_size(4 * _WRITE_BUFFER_BYTES)
        return options
