"""Protect the data folder from other users of the machine: it contains secrets, the key ring and payloads."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

logger = structlog.get_logger(__name__)

#: files and folders that the service creates; others in the same folder are left alone
_OURS = ("kafka", "tables", "queues", "health")
_OUR_FILES = ("secret.keys", "admin.token", "readmodel.sqlite3*", "up.json", "up.new", "demo.port")


def make_private(folder: Path) -> None:
    """Create the folder if it is missing. Folders get mode 0700 and files 0600, including those created later."""
    os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _restrict(folder)
        for pattern in _OUR_FILES:
            for path in folder.glob(pattern):
                _restrict(path)
        for name in _OURS:
            for path in [folder / name, *(folder / name).rglob("*")]:
                _restrict(path)
    except OSError as error:
        logger.warning("data_folder.not_private", folder=str(folder), error=str(error))


def _restrict(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if mode & 0o077 and not path.is_symlink():
            path.chmod(mode & 0o700)
    except FileNotFoundError:
        pass  # removed by a broker that is still running
