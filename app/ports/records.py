"""Read single records by their coordinates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from app.ports import Record


class RecordReader(Protocol):
    """Fetch what stands where."""

    async def records(self, topic: str, spots: Collection[tuple[int, int]]) -> Mapping[tuple[int, int], Record]:
        """The records at these (partition, offset); one that is not there, or no longer, is missing.

        Costs a fetch for each stretch of neighbours. Raises `Unavailable`.
        """
        ...
