"""The records of endpoints.signals: which outcomes of attempts tell something about an endpoint's health.

Rules of this file
- A success is a signal when the last thing told of the endpoint is not a success. After a restart or an assignment of
  its partition that is unknown, so the first success is told once.
- A failure is a signal. While an endpoint goes on failing, ten in a minute say all that a rule in days needs; a rule
  that counts failures needs every one.
- A delivery that dies is always a signal, and so is each change of an endpoint's circuit.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

_PER_WINDOW = 10


_WINDOW_S = 60.0


class _Told(NamedTuple):
    since_s: float
    number: int


class _Memory:
    __slots__ = ("failing", "well")

    def __init__(self) -> None:
        #: endpoints of which a success was told last
        self.well: set[str] = set()
        #: endpoints of which a failure was told last: how many in the present window
        self.failing: dict[str, _Told] = {}


class Teller:
    """What one dispatch worker has told of the endpoints in its partitions. A success costs one look into a set."""

    def __init__(self) -> None:
        self._memories: dict[int, _Memory] = {}

    def forget(self, partitions: Collection[int]) -> None:
        """These were assigned: somebody else may have told something of their endpoints."""
        for number in partitions:
            self._memories.pop(number, None)

    def success(self, partition: int, endpoint_id: str) -> bool:
        """Whether a success is to be told."""
        memory = self._memories.get(partition)
        if memory is None:
            memory = self._memories[partition] = _Memory()
        if endpoint_id in memory.well:
            return False
        memory.well.add(endpoint_id)
        memory.failing.pop(endpoint_id, None)
        return True

    def failure(self, partition: int, endpoint_id: str, now_s: float, *, always: bool) -> bool:
        """Whether a failure is to be told; `always`: each one counts."""
        memory = self._memories.setdefault(partition, _Memory())
        memory.well.discard(endpoint_id)
        told = memory.failing.get(endpoint_id)
        if told is None or now_s - told.since_s >= _WINDOW_S:
            told = _Told(now_s, 0)
        if told.number >= _PER_WINDOW and not always:
            return False
        memory.failing[endpoint_id] = _Told(told.since_s, told.number + 1)
        return True
