"""What a look at a process counts."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tests.soak.allocators import free_bytes, resident_bytes
from tests.soak.resources import FIGURES, look


def test_connections_to_receivers_are_counted_apart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        port = receiver.getsockname()[1]
        before = look(os.getpid(), 0.0, port, tmp_path)
        with socket.create_connection(("127.0.0.1", port)), socket.socket():
            after = look(os.getpid(), 0.0, port, tmp_path)
    assert before is not None and after is not None
    assert (before.connections, after.connections) == (0, 1)
    assert after.descriptors == before.descriptors + 1


def test_used_memory_is_what_the_process_itself_writes(tmp_path: Path) -> None:
    def used(figures: dict[str, int]) -> int | None:
        (tmp_path / FIGURES).write_text(json.dumps(figures))
        sample = look(os.getpid(), 0.0, 1, tmp_path)
        assert sample is not None
        return sample.used

    assert used({"pid": os.getpid(), "resident": 9000, "free": 1000}) == 8000
    assert used({"pid": 1, "resident": 9000, "free": 1000}) is None, "of the process before it"


@pytest.mark.parametrize("size", [64, 2000], ids=["Python's allocator", "glibc"])
def test_freed_memory_is_free_and_held_memory_is_not(size: int) -> None:
    total = 32 << 20
    before = free_bytes()
    held = [bytes(size) for _ in range(total // size)]
    while_held = free_bytes()
    assert while_held - before < total // 4
    kept = held[::1000]  # so that no arena can be given back as a whole
    del held
    # not compared with `before`: the heap of a process that has run tests may have had room for all of it
    assert free_bytes() - while_held > total // 2
    assert resident_bytes() > total // 2
    del kept
