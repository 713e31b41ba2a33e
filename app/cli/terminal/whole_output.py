"""Standard output that writes long texts whole."""

from __future__ import annotations

import io
import sys


def write_whole() -> None:
    """Buffer standard output by lines where Python does not buffer it (PYTHONUNBUFFERED, which the image sets).

    Unbuffered, Python drops the rest of a text of which the system has taken only the beginning. A full pipe does so
    when a signal arrives, or when libuv's io_uring is torn down (`pipe_write` in Linux's fs/pipe.c).
    """
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.RawIOBase):
        whole = io.BufferedWriter(stream.buffer)
        sys.stdout = io.TextIOWrapper(whole, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
