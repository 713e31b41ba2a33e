"""Files that are read again when they change on disk."""

from __future__ import annotations

from pathlib import Path

import structlog

from app.core.secret_text import SecretText

logger = structlog.get_logger(__name__)

FileStamp = tuple[int, int, int] | None
#: bytes of a password or token
_LONGEST = 65_536


def stamp(path: Path) -> FileStamp:
    """A value that differs after a change of the file; None while it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_text(path: Path) -> str:
    """The text without surrounding spaces. Raises `OSError` or `ValueError`, also for an empty or overlong file."""
    with path.open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST} bytes")
    text = content.decode().strip()
    if not text:
        raise ValueError("it is empty")
    return text


class WatchedSecret:
    """A secret whose present text is in its file, if it was read from one."""

    def __init__(self, secret: SecretText) -> None:
        self._text = secret.reveal()
        self._file = secret.file
        self._stamp = stamp(secret.file) if secret.file else None

    def current(self) -> str:
        """The text. While the file cannot be used, as in the middle of a replacement, the former text."""
        if self._file is None:
            return self._text
        now = stamp(self._file)
        if now != self._stamp:
            self._stamp = now
            try:
                self._text = read_text(self._file)
            except (OSError, ValueError) as error:
                logger.error("kafka.secret_file_unusable", file=str(self._file), error=str(error), action="use former")
            else:
                logger.warning("kafka.secret_file_reloaded", file=str(self._file))
        return self._text

    def __repr__(self) -> str:
        return "WatchedSecret(***)"
