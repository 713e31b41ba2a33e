"""Ports for the servers of tests."""

from __future__ import annotations

import os
import re
import secrets
import socket

#: below the range from which Linux takes the local ports of outgoing connections (32768 and up), where a port that is
#: free now can be taken before its server starts; and besides the range of the embedded broker (20000 and up)
_RANGE = range(10_000, 20_000)
#: each worker of pytest-xdist has a part of the range
_PARTS = 20
#: what this process has handed out: a port stays free until its server starts, and must not be given to a second one
_given: set[int] = set()


def free_port() -> int:
    """A port that no server listens on, on any address; another one each time, until all were handed out."""
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
    assert worker is not None
    size = len(_RANGE) // _PARTS
    first = _RANGE.start + int(worker[1]) % _PARTS * size
    start = secrets.randbelow(size)
    ports = [first + (start + step) % size for step in range(size)]
    for port in [*(each for each in ports if each not in _given), *ports]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise OSError(f"no free port from {first} to {first + size - 1}")
