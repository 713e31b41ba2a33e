"""The folders of the tables: they are let go at a stop, so that the next app of the same process can have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from faust.types import TP

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


async def test_a_partition_assigned_during_a_stop_opens_nothing(tmp_path: Path) -> None:
    stopped = table(tmp_path)
    await stopped.close()
    assert stopped.persisted_offset(TP("t", 2)) is None
    assert not list(tmp_path.rglob("*.db")), "the folder would stay locked"


async def test_a_folder_in_use_elsewhere_is_not_replaced(tmp_path: Path) -> None:
    first, second = table(tmp_path), table(tmp_path)
    first.write(0, {b"k": b"v"})
    with pytest.raises(Exception, match="lock"):
        second.persisted_offset(TP("t", 0))
    assert first.read(0, b"k") == b"v" and not list(tmp_path.rglob("*.damaged"))
    await second.close()
    await first.close()
