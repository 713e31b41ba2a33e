"""Keep the data folder from other users of the machine: it holds secrets, the key ring and payloads."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

logger = structlog.get_logger(__name__)

#: what the service puts into the folder; other files that are there are somebody else's business
_OURS = ("kafka", "tables", "queues", "health")
_OUR_FILES = ("secret.keys", "admin.token", "readmodel.sqlite3*", "up.json", "up.new", "demo.port")


def make_private(folder: Path) -> None:
    """Make the folder where it is missing; folders get mode 0700, files 0600, those of later on, too."""
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
        pass  # a broker that still runs has removed it
