"""Faust's tables, read and written for a batch of records; private API is used on purpose, the version is pinned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import faust
import rocksdict
import structlog

from app.adapters.faust.folder_store import FolderStore
from app.adapters.faust.store_options import StoreOptions
from app.core.table_recovery import PLAIN, Supersedes

logger = structlog.get_logger(__name__)


class BatchTable(faust.Table):
    """A table of bytes, read and written for a partition instead of for a Faust event."""

    store_options: StoreOptions
    recovery = PLAIN

    def _new_store(self) -> Any:
        store = super()._new_store()
        if hasattr(store, "rocksdb_options"):
            store.rocksdb_options = self.store_options
        return store

    def read(self, partition: int, key: bytes) -> bytes | None:
        """The value in this worker's store. Raises `Unavailable` if the store cannot be read."""
        store = self.data
        if not isinstance(store, FolderStore):
            return store.data.get(key)  # type: ignore[no-any-return]
        try:
            return store._db_for_partition(partition).get(key)  # type: ignore[no-any-return]
        except Exception as error:  # rocksdict raises no other class
            raise store.distrust(partition, error) from error

    def scan(self, partition: int, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """The keys of this worker's store that begin with `prefix`, with their values, ascending."""
        store = self.data
        if not isinstance(store, FolderStore):
            return sorted((key, value) for key, value in store.data.items() if key.startswith(prefix))
        try:
            items = store._db_for_partition(partition).items(from_key=prefix)
            return list(takewhile(lambda item: item[0].startswith(prefix), items))
        except Exception as error:
            raise store.distrust(partition, error) from error

    def write(self, partition: int, items: Mapping[bytes, bytes | None]) -> None:
        """Put items into this worker's store (None removes). The caller must also append them to the changelog."""
        store = self.data
        if not isinstance(store, FolderStore):
            for key, value in items.items():
                if value is None:
                    store.data.pop(key, None)
                else:
                    store.data[key] = value
            return
        batch = rocksdict.WriteBatch(raw_mode=True)
        for key, value in items.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        store.stamp(partition, batch)
        try:
            store._db_for_partition(partition).write(batch)
        except Exception as error:
            raise store.distrust(partition, error) from error

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Recover, without records that a replaced worker appended too late."""
        supersedes = self.recovery.supersedes
        super().apply_changelog_batch(batch if supersedes is None else self._in_time(list(batch), supersedes))

    def _in_time(self, events: Sequence[Any], supersedes: Supersedes) -> list[Any]:
        entries: list[Any] = []
        seen: dict[tuple[int, bytes], bytes | None] = {}
        for event in events:
            message = event.message
            place = message.partition, message.key
            value = seen[place] if place in seen else self.read(*place)
            if supersedes(value, message.value or None):
                seen[place] = message.value or None
                entries.append(event)
        if len(entries) < len(events):  # mostly its own, superseded since the last recovery
            logger.info("table.older_records_skipped", table=self.name, records=len(events) - len(entries))
        return entries

    async def close(self) -> None:
        """Close the folders, even if the app did not stop."""
        if isinstance(self.data, FolderStore):
            await self.data.stop()

    def _new_store_by_url(self, url: Any) -> Any:
        if not str(url).startswith("rocksdb:"):
            return super()._new_store_by_url(url)
        return FolderStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )
