"""A lock on a folder, released by the kernel when the last process that holds it ends, however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from concurrent.futures import Future
from pathlib import Path


class FolderLock:
    """An exclusive lock on an open file. A child process that inherits `fd` holds it, too. It cannot become stale."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    @property
    def fd(self) -> int | None:
        """The open file while this process holds the lock."""
        return self._fd

    async def acquire(self, *, wait_s: float) -> bool:
        """Acquire the lock, waiting up to `wait_s` seconds; False if other processes still hold it."""
        if self._fd is not None:
            return True
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not await _flock(fd, wait_s):
                return False
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
            self._fd, fd = fd, -1
        finally:
            if fd >= 0:
                os.close(fd)
        return True

    def owner(self) -> int | None:
        """The id of the process that acquired the lock last; None if it has ended."""
        try:
            pid = int(self._path.read_bytes())
        except (ValueError, FileNotFoundError):
            return None
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid  # alive, of another user
        return pid

    def release(self) -> None:
        """Release the lock; does nothing if it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


async def _flock(fd: int, wait_s: float) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        return True
    if wait_s <= 0:
        return False
    taken: Future[None] = Future()
    taken.set_running_or_notify_cancel()  # from now on the cancellation of a waiter does not cancel it
    threading.Thread(target=_flock_blocking, args=(os.dup(fd), taken), daemon=True).start()
    try:
        async with asyncio.timeout(wait_s):
            await asyncio.wrap_future(taken)
    except TimeoutError:
        return False
    return True


def _flock_blocking(fd: int, taken: Future[None]) -> None:
    """Wait on a duplicate descriptor. If the waiter has closed its own, closing this one releases the lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as error:
        taken.set_exception(error)
    else:
        taken.set_result(None)
    finally:
        os.close(fd)
