"""RocksDB folders that may be damaged: a folder that cannot be opened or read is replaced from the changelog.

A folder is only a copy of the changelog. Faust's own store raises at every start if the folder is damaged. Damage may
also show only when a block is read: then the folder is marked, and the next start renames it and recovers another one.

A folder may also be outdated. While its partition was assigned elsewhere, the changelog may have been compacted, and
with it the tombstones of removed keys. So a folder is trusted only for a limited time after it was last complete.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import structlog
from faust.stores.rocksdb import Store

from app.adapters.clock import SystemClock
from app.core.errors import Unavailable
from app.ports.clock import Clock

logger = structlog.get_logger(__name__)

_ASIDE = ".damaged"
_MARK = ".distrusted"
#: key of the time (epoch milliseconds) at which the folder was last complete
_CONFIRMED_KEY = b"__hookstream\0known_at__"
#: milliseconds between two updates of that time
_STAMP_MS = 10_000


class FolderStore(Store):
    """Faust's store, which starts even on a damaged folder, and closes its databases when it is stopped.

    Faust only drops its references to the databases. The next app of this process could find the folders locked.
    """

    _closed = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._clock: Clock = SystemClock()
        #: partition → when its folder was last complete for certain
        self._confirmed_ms: dict[int, int] = {}

    async def stop(self) -> None:
        """Close all databases; a late batch does not open them again."""
        self._closed = True
        while self._dbs:
            self._dbs.popitem()[1].close()

    def _open_for_partition(self, partition: int) -> Any:
        if self._closed:
            raise Unavailable(f"the tables in {self.partition_path(partition).parent} are closed")
        path = self.partition_path(partition)
        mark = _beside(path, _MARK)
        try:
            if mark.exists():
                _replace(path, "a block could not be read")
                mark.unlink()
            try:
                return super()._open_for_partition(partition)
            except Exception as error:  # rocksdict raises no other class
                if _is_locked(error):  # by a process that is about to end: Faust tries again
                    raise
                _replace(path, str(error))
                return super()._open_for_partition(partition)
        except OSError as error:
            raise Unavailable(f"the tables in {path.parent} cannot be used: {error}") from error

    def persisted_offset(self, tp: Any) -> int | None:
        """The last changelog offset that the folder contains; None if it is empty, -1 if it was just replaced.

        With None, Faust would continue where an earlier recovery of this process ended. Raises `Unavailable` if the
        folder cannot be used at all.
        """
        if self._closed:  # partitions are assigned while the process stops: nothing will be recovered
            return None
        try:
            offset: int | None = super().persisted_offset(tp)
            outdated = self._is_outdated(tp.partition, offset)
            wrong = "it is older than the tombstones that the changelog retains" if outdated else None
        except Exception as error:  # an error raised here would recur at each start
            if tp.partition not in self._dbs:  # not even a new folder could be opened, or another process has it
                raise
            offset, wrong = -1, str(error)
        if wrong is not None:
            self._dbs.pop(tp.partition).close()
            _replace(self.partition_path(tp.partition), wrong)
            offset = -1
        if self._trusted_ms is not None:  # recovery ends only after reading all that is in the changelog now
            self._confirmed_ms[tp.partition] = self._clock.now_ms() - _STAMP_MS
        return offset

    @property
    def _trusted_ms(self) -> float | None:
        seconds: float | None = self.table.recovery.trusted_s
        return None if seconds is None else seconds * 1000

    def _is_outdated(self, partition: int, offset: int | None) -> bool:
        trusted_ms = self._trusted_ms
        recently_ms = self._confirmed_ms.get(partition)
        if trusted_ms is None or (recently_ms is not None and self._clock.now_ms() - recently_ms <= trusted_ms):
            # In a rebalance Faust may still hold records of the previous recovery. It would skip all older records,
            # even for an empty folder.
            return False
        stored = self._db_for_partition(partition).get(_CONFIRMED_KEY)
        if stored is None:
            return offset is not None
        return abs(self._clock.now_ms() - int(stored)) > trusted_ms

    def stamp(self, partition: int, batch: Any) -> None:
        """Add the time at which the folder was complete to `batch`, which the partition's owner is about to write.

        After a long suspension this process may no longer be the owner; then the time is not renewed.
        """
        trusted_ms, confirmed_ms = self._trusted_ms, self._confirmed_ms.get(partition)
        if trusted_ms is None or confirmed_ms is None:
            return
        now_ms = self._clock.now_ms()
        if _STAMP_MS <= now_ms - confirmed_ms <= trusted_ms:
            batch.put(_CONFIRMED_KEY, b"%d" % now_ms)
            self._confirmed_ms[partition] = now_ms

    def apply_changelog_batch(self, batch: Any, to_key: Any, to_value: Any) -> None:
        """Write records of the changelog into the store. Raises `Unavailable`."""
        events = list(batch)
        try:
            super().apply_changelog_batch(events, to_key, to_value)
        except Exception as error:
            failures = [self.distrust(each, error) for each in {event.message.partition for event in events}]
            raise failures[0] from error

    def distrust(self, partition: int, error: Exception) -> Unavailable:
        """Mark a folder after a failed read or write: the next start replaces it. Returns the error to raise."""
        path = self.partition_path(partition)
        if self._closed or _is_locked(error):  # no sign of damage
            return error if isinstance(error, Unavailable) else Unavailable(f"the table in {path} is closed: {error}")
        try:
            _beside(path, _MARK).touch()
        except OSError as problem:
            logger.warning("store.not_marked", path=str(path), error=str(problem))
        return Unavailable(f"the table in {path} could not be used: {error}")


def _is_locked(error: Exception) -> bool:
    text = str(error)
    return text.startswith("IO error") and "lock" in text.lower()


def _replace(path: Path, reason: str) -> None:
    """Rename the folder, so that an empty one takes its place; an earlier renamed one is removed."""
    aside = _beside(path, _ASIDE)
    if aside.is_dir():
        shutil.rmtree(aside)
    elif aside.exists():
        aside.unlink()
    if path.exists():
        path.rename(aside)
    logger.warning(
        "store.folder_replaced", path=str(path), to=str(aside), reason=reason, action="recover from the changelog"
    )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
