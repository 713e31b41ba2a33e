"""RocksDB folders that may be damaged: what cannot be opened or read is put aside, and made again from the changelog.

A folder is only a copy. Faust's store raises when it is damaged, at each start again; the damage may also show only
when a block is read. Then the folder is marked, and the next start puts it aside.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import structlog
from faust.stores.rocksdb import Store

from app.core.errors import Unavailable

log = structlog.get_logger(__name__)

_ASIDE = ".damaged"
_MARK = ".distrusted"


class FolderStore(Store):
    """Faust's store, which starts whatever is on its disk, and lets go of it when it is stopped.

    Faust only forgets its databases and hopes that nothing else holds them: the next app of this process would find
    the folders locked.
    """

    _closed = False

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
        """How far the folder knows the changelog; None: not at all, as when that cannot be read."""
        try:
            known: int | None = super().persisted_offset(tp)
            return known
        except Exception as error:  # here an error would come again at each start
            self._dbs.pop(tp.partition).close()
            _put_aside(self.partition_path(tp.partition), str(error))
            return None

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
            log.warning("store.not_marked", path=str(path), error=str(problem))
        return Unavailable(f"the table in {path} could not be used: {error}")


def _is_locked(error: Exception) -> bool:
    text = str(error)
    return text.startswith("IO error") and "lock" in text.lower()


def _put_aside(path: Path, reason: str) -> None:
    """Rename it; one earlier one is kept, no more."""
    aside = _beside(path, _ASIDE)
    if aside.is_dir():
        shutil.rmtree(aside)
    elif aside.exists():
        aside.unlink()
    if path.exists():
        path.rename(aside)
    log.warning("store.put_aside", path=str(path), to=str(aside), reason=reason, action="made again from the changelog")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
