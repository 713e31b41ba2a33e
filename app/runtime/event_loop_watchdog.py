"""End a process whose event loop does not turn any more: a blocked loop cannot end it, so a thread does.

The thread counts its own looks instead of time: a process that was stopped as a whole, or a machine that slept, has
taken no looks. Code that blocks without giving up the interpreter's lock stops the thread, too; then only the missing
answer of /healthz tells.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable

import structlog

logger = structlog.get_logger(__name__)

_LOOKS = 10
_LAST_WORDS_S = 2.0


class EventLoopWatchdog:
    """Watches the event loop in which it is started."""

    def __init__(self, limit_s: float, code: int, end: Callable[[int], None] = os._exit) -> None:
        """`limit_s` 0: disabled. `code`: exit code of the process that it ends."""
        self._limit_s = limit_s
        self._code = code
        self._end = end
        self._silent = 0
        self._stopped = threading.Event()
        self._ticking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; a second start changes nothing, unless it was stopped meanwhile."""
        if self._limit_s and self._ticking is None:
            self._stopped = threading.Event()
            self._ticking = asyncio.create_task(self._tick())
            watched = threading.get_ident()
            threading.Thread(target=self._watch, args=(watched, self._stopped), name="loop-watch", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    async def _tick(self) -> None:
        while True:
            self._silent = 0
            await asyncio.sleep(self._limit_s / _LOOKS)

    def _watch(self, watched: int, stopped: threading.Event) -> None:
        while not stopped.wait(self._limit_s / _LOOKS):
            self._silent += 1
            if self._silent > _LOOKS:
                faulthandler.dump_traceback(file=2)
                words = threading.Thread(target=self._say, args=(watched,), daemon=True)
                words.start()
                words.join(_LAST_WORDS_S)  # what blocks the loop may hold a lock of the log's
                self._end(self._code)
                return

    def _say(self, watched: int) -> None:
        frame = sys._current_frames().get(watched)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        logger.critical("loop.blocked", seconds=self._limit_s, exit_code=self._code, stack=stack)
