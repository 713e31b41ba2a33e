"""RocksDB folders that may be damaged: what cannot be opened or read is put aside, and made again from the changelog.

A folder is only a copy. Faust's store raises when it is damaged, at each start again; the damage may also show only
when a block is read. Then the folder is marked, and the next start puts it aside.

A folder may also be outdated: its partition was elsewhere for so long that the changelog, compacted meanwhile, no
longer says what was removed. So a table may trust its folders only for some time after they last knew everything.
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
#: when (milliseconds) the folder last knew everything
_CONFIRMED_KEY = b"__hookstream\0known_at__"
#: it is written down again after that time
_STAMP_MS = 10_000


class FolderStore(Store):
    """Faust's store, which starts whatever is on its disk, and lets go of it when it is stopped.

    Faust only forgets its databases and hopes that nothing else holds them: the next app of this process would find
    the folders locked.
    """

    _closed = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._clock: Clock = SystemClock()
        #: partition → when its folder last knew everything, as far as that is certain
        self._confirmed_ms: dict[int, int] = {}

    async def stop(self) -> None:
        """Close all; nothing is opened again by a batch that comes late."""
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
                _put_aside(path, "a block of it could not be read")
                mark.unlink()
            try:
                return super()._open_for_partition(partition)
            except Exception as error:  # rocksdict knows no other
                if _is_locked(error):  # by a process that is about to end: Faust tries again
                    raise
                _put_aside(path, str(error))
                return super()._open_for_partition(partition)
        except OSError as error:
            raise Unavailable(f"the tables in {path.parent} cannot be used: {error}") from error

    def persisted_offset(self, tp: Any) -> int | None:
        """How far the folder knows the changelog; None, or -1 where it was put aside: not at all.

        With None Faust would go on where an earlier recovery of this process has ended.
        """
        try:
            offset: int | None = super().persisted_offset(tp)
            outdated = self._is_outdated(tp.partition, offset)
            wrong = "it is older than what the changelog still says of removals" if outdated else None
        except Exception as error:  # here an error would come again at each start
            offset, wrong = -1, str(error)
        if wrong is not None:
            self._dbs.pop(tp.partition).close()
            _put_aside(self.partition_path(tp.partition), wrong)
            offset = -1
        if self._trusted_ms is not None:  # nothing is written before all has been read that was there by now
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
            # In a rebalance Faust may still have records of the recovery before in hand: it would pass over all that is
            # older than these, in an empty folder, too.
            return False
        stored = self._db_for_partition(partition).get(_CONFIRMED_KEY)
        if stored is None:
            return offset is not None
        return abs(self._clock.now_ms() - int(stored)) > trusted_ms

    def stamp(self, partition: int, batch: Any) -> None:
        """The owner of the partition writes `batch`. One that stood still for too long may be the owner no more."""
        trusted_ms, confirmed_ms = self._trusted_ms, self._confirmed_ms.get(partition)
        if trusted_ms is None or confirmed_ms is None:
            return
        now_ms = self._clock.now_ms()
        if _STAMP_MS <= now_ms - confirmed_ms <= trusted_ms:
            batch.put(_CONFIRMED_KEY, b"%d" % now_ms)
            self._confirmed_ms[partition] = now_ms

    def apply_changelog_batch(self, batch: Any, to_key: Any, to_value: Any) -> None:
        """Recover."""
        events = list(batch)
        try:
            super().apply_changelog_batch(events, to_key, to_value)
        except Exception as error:
            failures = [self.distrust(each, error) for each in {event.message.partition for event in events}]
            raise failures[0] from error

    def distrust(self, partition: int, error: Exception) -> Unavailable:
        """Reading or writing has failed: the next start makes the folder again. The error to raise."""
        path = self.partition_path(partition)
        if self._closed or _is_locked(error):  # says nothing about what is in it
            return error if isinstance(error, Unavailable) else Unavailable(f"the table in {path} is closed: {error}")
        try:
            _beside(path, _MARK).touch()
        except OSError as problem:
            logger.warning("store.not_marked", path=str(path), error=str(problem))
        return Unavailable(f"the table in {path} could not be used: {error}")


def _is_locked(error: Exception) -> bool:
    text = str(error)
    return text.startswith("IO error") and "lock" in text.lower()


def _put_aside(path: Path, reason: str) -> None:
    """Rename it, and remove all but one that were renamed earlier."""
    aside = _beside(path, _ASIDE)
    if aside.is_dir():
        shutil.rmtree(aside)
    elif aside.exists():
        aside.unlink()
    if path.exists():
        path.rename(aside)
    logger.warning(
        "store.put_aside", path=str(path), to=str(aside), reason=reason, action="made again from the changelog"
    )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
