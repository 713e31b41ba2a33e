"""Nobody else on the machine reads the data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.adapters.private_folder import make_private
from app.adapters.secrets.keyring import operator_token_in, ring_in


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in [folder, *folder.rglob("*")]}


def test_an_existing_folder_is_made_private_and_new_files_are_private_from_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "kafka" / "records" / "events.raw-0").mkdir(parents=True)
    for name in (
        "kafka/records/events.raw-0/0.log",
        "readmodel.sqlite3",
        "readmodel.sqlite3-wal",
        "up.json",
        "notes.txt",
    ):
        (folder / name).write_text("secret")
    make_private(folder)
    ring_in(folder, create=True)
    operator_token_in(folder)
    (folder / "tables").mkdir()
    (folder / "tables" / "state").write_text("later")
    open_to_others = {name: oct(mode) for name, mode in modes(folder).items() if mode & 0o077}
    assert open_to_others == {"notes.txt": "0o644"}, "a file that is none of ours is left alone, behind a closed folder"


def test_a_missing_folder_is_created(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b")
    assert modes(tmp_path / "a" / "b") == {".": 0o700}
