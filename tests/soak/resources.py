"""What a process uses, as /proc shows it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.soak.judgement import Sample

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: RocksDB opens files as its tables grow, up to a bound of its own
_BOUNDED = ".sst"


def look(pid: int, at: float) -> Sample | None:
    """One sample; None: the process has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        rss = int((folder / "statm").read_text().split()[1]) * _PAGE
        threads = len(os.listdir(folder / "task"))
        descriptors = sum(not _target(folder / "fd" / name).endswith(_BOUNDED) for name in os.listdir(folder / "fd"))
    except (OSError, IndexError):
        return None
    return Sample(at, pid, rss, descriptors, threads) if rss else None


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:  # closed since the folder was listed
        return _BOUNDED
