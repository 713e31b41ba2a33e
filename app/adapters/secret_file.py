"""Files with a secret text that are created once, for their owner only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """The text of a file. A missing one is created with mode 0600.

    Raises `OSError`, and `ValueError` for a file that is not ASCII.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    text = make()
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text + "\n")
    return text
