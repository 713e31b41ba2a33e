"""The folders of the tables: they are let go at a stop, so that the next app of the same process can have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.adapters.faust.app_builder import build_app
from app.adapters.faust.tables import BatchTable
from app.core.errors import Unavailable
from tests.kafka import clients_at


def table(folder: Path) -> BatchTable:
    app = build_app(
        group="g",
        clients=clients_at("127.0.0.1:1"),
        source_topic="t",
        data_dir=str(folder),
        store="rocksdb",
        client_id="c",
        session_s=10,
    )
    return app.batch_table("kept", 1)


async def test_a_stopped_app_closes_its_folders_despite_remaining_references(
    tmp_path: Path,
) -> None:
    first = table(tmp_path)
    first.write(0, {b"k": b"v"})
    held = first.data._db_for_partition(0)  # as a batch under way does
    await first.close()
    second = table(tmp_path)
    assert second.read(0, b"k") == b"v"
    with pytest.raises(Unavailable, match="closed"):
        first.read(0, b"k")
    await second.close()
    assert not list(tmp_path.rglob("*.distrusted")), "a late read says nothing about the folder"
    assert held is not None
