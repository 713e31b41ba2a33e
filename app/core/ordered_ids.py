"""A sorted set of ids in chunks: the cost of adding, removing and reading from an id does not grow with its size."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

#: ids of one chunk at most; a larger one is split
_CHUNK = 1000


def _last(chunk: list[str]) -> str:
    return chunk[-1]


class OrderedIds:
    """A sorted set of ids."""

    __slots__ = ("_chunks",)

    def __init__(self, ids: Iterable[str] = ()) -> None:
        ordered = sorted(set(ids))
        self._chunks = [ordered[at : at + _CHUNK] for at in range(0, len(ordered), _CHUNK)]

    def add(self, id_: str) -> None:
        """Add an id, if it is not in the set."""
        chunks = self._chunks
        at = min(bisect_left(chunks, id_, key=_last), len(chunks) - 1)
        if at < 0:
            chunks.append([id_])
            return
        chunk = chunks[at]
        if not _contains(chunk, id_):
            insort(chunk, id_)
            if len(chunk) > _CHUNK:
                half = len(chunk) // 2
                chunks[at : at + 1] = [chunk[:half], chunk[half:]]

    def discard(self, id_: str) -> None:
        """Remove an id, if it is in the set."""
        at = bisect_left(self._chunks, id_, key=_last)
        if at < len(self._chunks) and _contains(chunk := self._chunks[at], id_):
            del chunk[bisect_left(chunk, id_)]
            if not chunk:
                del self._chunks[at]

    def after(self, id_: str, limit: int) -> list[str]:
        """The ids behind `id_`, which need not be in the set, at most `limit`."""
        at = bisect_right(self._chunks, id_, key=_last)
        page: list[str] = []
        while at < len(self._chunks) and len(page) < limit:
            chunk = self._chunks[at]
            begin = 0 if page else bisect_right(chunk, id_)
            page += chunk[begin : begin + limit - len(page)]
            at += 1
        return page


def _contains(chunk: list[str], id_: str) -> bool:
    at = bisect_left(chunk, id_)
    return at < len(chunk) and chunk[at] == id_
