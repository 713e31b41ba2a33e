"""What the allocators of this process have and do not use: free blocks of glibc, and of Python's own allocator.

Resident memory is what was used most at any time, rounded up by fragmentation: a burst raises it for ever. A leak
raises what is left of it without the free blocks, too. So does garbage that waits for the collector, for as long as
its thresholds allow (app/cli/connect/process_context.py); it is collected before each look.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import threading
import time
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: what Python's allocator takes from the system at once (Python 3.10 and later, 64 bits)
ARENA_BYTES = 1 << 20
_EVERY_S = 20.0
_ARENAS = re.compile(r"# arenas allocated current\s*=\s*([\d,]+)")
_USED = re.compile(r"# bytes in allocated blocks\s*=\s*([\d,]+)")


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2`, see mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


_libc = ctypes.CDLL(None)
_libc.mallinfo2.restype = _Mallinfo
_libc.open_memstream.restype = ctypes.c_void_p
_libc.open_memstream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
_libc.fclose.argtypes = [ctypes.c_void_p]
_libc.free.argtypes = [ctypes.c_void_p]


def free_bytes() -> int:
    """Of both allocators."""
    text = _python_statistics()
    arenas, used = (int(match[1].replace(",", "")) if (match := each.search(text)) else 0 for each in (_ARENAS, _USED))
    return int(_libc.mallinfo2().fordblks) + arenas * ARENA_BYTES - used


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def watch(path: Path) -> None:
    """Write both into a file every few seconds, until the process ends."""
    threading.Thread(target=_write, args=(path,), daemon=True, name="allocators").start()


def _write(path: Path) -> None:
    fresh = path.with_suffix(".new")
    while True:
        gc.collect()
        figures = {"pid": os.getpid(), "resident": resident_bytes(), "free": free_bytes()}
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(figures))
        fresh.replace(path)
        time.sleep(_EVERY_S)


def _python_statistics() -> str:
    """What `sys._debugmallocstats()` prints to stderr."""
    buffer, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(_libc.open_memstream(ctypes.byref(buffer), ctypes.byref(size)))
    ctypes.pythonapi._PyObject_DebugMallocStats(stream)
    _libc.fclose(stream)
    try:
        return ctypes.string_at(buffer, size.value).decode()
    finally:
        _libc.free(buffer)
