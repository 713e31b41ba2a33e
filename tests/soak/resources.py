"""What a process uses, as /proc and its allocators show it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.soak.judgement import Sample

_PAGE = os.sysconf("SC_PAGE_SIZE")
#: RocksDB opens files as its tables grow, up to a bound of its own
_BOUNDED = ".sst"
_SOCKET = "socket:["
#: in its data folder: what a process writes about its own memory
FIGURES = "memory.json"


def look(pid: int, at: float, receiver: int, data_dir: Path) -> Sample | None:
    """One sample; None: the process has ended. `receiver`: the port of all receivers."""
    folder = Path(f"/proc/{pid}")
    try:
        rss = int((folder / "statm").read_text().split()[1]) * _PAGE
        threads = len(os.listdir(folder / "task"))
        outward = _sockets_to(folder, receiver)
        targets = [_target(folder / "fd" / name) for name in os.listdir(folder / "fd")]
    except (OSError, IndexError):
        return None
    connections = sum(target in outward for target in targets)
    descriptors = sum(not target.endswith(_BOUNDED) for target in targets) - connections
    used = _used(data_dir, pid)
    return Sample(at, pid, rss, descriptors, threads, used, connections) if rss else None


def _used(data_dir: Path, pid: int) -> int | None:
    try:
        read = json.loads((data_dir / FIGURES).read_bytes())
    except FileNotFoundError:  # it has just started
        return None
    return int(read["resident"]) - int(read["free"]) if read["pid"] == pid else None


def _sockets_to(folder: Path, port: int) -> set[str]:
    """The sockets of this network namespace that are connected to a port, as descriptors name them."""
    rows = [line.split() for line in (folder / "net" / "tcp").read_text().splitlines()[1:]]
    return {f"{_SOCKET}{row[9]}]" for row in rows if int(row[2].rpartition(":")[2], 16) == port}


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:  # closed since the folder was listed
        return _BOUNDED
