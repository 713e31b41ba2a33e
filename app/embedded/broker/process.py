"""Run other programs: to their end, or the broker's Java as a guarded child process.

The broker must never outlive us, even when we are killed with SIGKILL. Linux could do that with PR_SET_PDEATHSIG, but
it exists nowhere else and fires when the *thread* that started the child ends. So a shell reads a pipe that only we
hold open, and when it ends, kills its own process group, of which Java is a member. The shell keeps the group's
number in use, so it can never hit a stranger.

A thread, not the event loop, reads Java's output and waits for its end: the broker may outlive a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

_GUARD = ("/bin/sh", "-c", "while read -r _; do :; done; kill -KILL 0")
_STARTED = "Kafka Server started"
_TAIL_LINES = 30


class BrokerProcess:
    """A Java process, started on construction. Not bound to an event loop: any loop may call its methods."""

    def __init__(self, argv: Sequence[str], *, folder: Path, lock_fd: int | None) -> None:
        """Start `argv` in `folder`. The child inherits `lock_fd`, and so holds that lock until it ends."""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._started: Future[bool] = _uncancellable()
        self._exited: Future[int] = _uncancellable()
        self._guard = subprocess.Popen(
            _GUARD,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # its own process group: Ctrl-C in the terminal does not reach it
        )
        try:
            self._java = subprocess.Popen(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=() if lock_fd is None else (lock_fd,),
                process_group=self._guard.pid,
            )
        except BaseException:
            self._dismiss_guard()
            raise
        threading.Thread(target=self._follow, name=f"broker-{self._java.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Java's process id."""
        return self._java.pid

    @property
    def running(self) -> bool:
        """Whether Java is running."""
        return not self._exited.done()

    @property
    def tail(self) -> str:
        """The last lines of Java's console output."""
        return "\n".join(self._tail)

    async def started(self) -> bool:
        """Wait until the broker accepts requests (True) or has ended before that (False)."""
        return await asyncio.wrap_future(self._started)

    async def exited(self) -> int:
        """Wait until Java has ended, for whatever reason. Returns the exit status, negative for a signal."""
        return await asyncio.wrap_future(self._exited)

    def terminate(self) -> None:
        """Request an orderly shutdown (SIGTERM)."""
        self._java.terminate()

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self._java.kill()

    def _follow(self) -> None:
        assert self._java.stdout is not None
        with self._java.stdout as lines:
            for line in lines:
                self._tail.append(line.rstrip())
                if _STARTED in line and not self._started.done():
                    self._started.set_result(True)
        status = self._java.wait()
        self._dismiss_guard()
        if not self._started.done():
            self._started.set_result(False)
        self._exited.set_result(status)

    def _dismiss_guard(self) -> None:
        self._guard.kill()
        self._guard.wait()
        assert self._guard.stdin is not None
        self._guard.stdin.close()


async def run_to_end(argv: Sequence[str], *, folder: Path, timeout_s: float) -> tuple[int, str]:
    """Run a program. Returns its exit status and its output; it is killed on timeout and cancellation."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


def _uncancellable() -> Future[Any]:
    """A future whose waiters can be cancelled without cancelling it for the others."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future
