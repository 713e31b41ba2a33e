"""Long output reaches a reader that is slow, whatever interrupts the writing."""

from __future__ import annotations

import os
import subprocess
import sys

#: a signal arrives again and again while the pipe is full; each is reported on standard error
_PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: os.write(2, b"."))
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
from app.cli.terminal.whole_output import write_whole
if sys.argv[1:]: write_whole()
print("x" * 500_000)
signal.setitimer(signal.ITIMER_REAL, 0)
print("end")
"""


def arrived(*words: str) -> tuple[int, bytes]:
    """The number of bytes that arrive, and the last line."""
    environ = os.environ | {"PYTHONUNBUFFERED": "1"}
    words = (sys.executable, "-c", _PROGRAM, *words)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)  # it writes
        assert process.stderr.read(1) == b".", "it was interrupted"
        out = b"x" + process.stdout.read()
        assert process.wait() == 0
    return len(out), out.rsplit(b"\n", 2)[1]


def test_a_long_text_is_written_whole() -> None:
    assert arrived("whole") == (500_005, b"end")


def test_python_alone_drops_the_rest() -> None:
    length, _ = arrived()
    assert length < 500_005, "write_whole is no longer needed"
