"""A part of a document that is written by a program, between two comments that name the program."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_END = "<!-- end -->"


class Section(NamedTuple):
    """The part of `file` (below the repository) that `program` (below this folder) writes."""

    file: str
    program: str

    @property
    def begin(self) -> str:
        """The comment before the part."""
        return f"<!-- begin: written by tests/architecture/{self.program} -->"

    def read(self) -> str:
        """The part as it stands, without the empty lines around it."""
        return self._text().partition(self.begin)[2].partition(_END)[0].strip("\n")

    def write(self, part: str) -> None:
        """Replace the part; raises `ValueError` where the document lacks the comments."""
        before, begin, rest = self._text().partition(self.begin)
        _, end, after = rest.partition(_END)
        if not begin or not end:
            raise ValueError(f"{self.file} has no part that begins with {self.begin} and ends with {_END}")
        (ROOT / self.file).write_text(f"{before}{begin}\n\n{part}\n\n{end}{after}", encoding="utf-8")

    def _text(self) -> str:
        return (ROOT / self.file).read_text(encoding="utf-8")
