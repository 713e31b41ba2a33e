"""Text that must not appear in logs, messages or tracebacks."""

from __future__ import annotations

from pathlib import Path


class SecretText:
    """Hides its text when printed; only `reveal` returns it."""

    __slots__ = ("_text", "file")

    def __init__(self, text: str, file: Path | None = None) -> None:
        self._text = text
        #: the file from which it was read, if any
        self.file = file

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __repr__(self) -> str:
        return "SecretText(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretText) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)
