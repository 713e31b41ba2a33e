"""The records of endpoints.signals: which outcomes of attempts tell something about an endpoint's health.

Rules of this file
- A success is a signal when the last thing told of the endpoint is not a success. After a restart or an assignment of
  its partition that is unknown, so the first success is told once.
- A failure is a signal. While an endpoint goes on failing, ten in a minute say all that a rule in days needs; a rule
  that counts failures needs every one.
- A delivery that dies is always a signal, and so is each change of an endpoint's circuit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

import msgspec

from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.model.http_exchange import NOT_SENT
from app.core.offsets.partitions import PartitionId
from app.core.records.attempt import Attempt
from app.core.records.signal import HealthSignal
from app.profiles.catalog import get as profile_of
from app.profiles.policy import effective

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


class SignalFilter:
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


_encoder = msgspec.json.Encoder()


class SignalEncoder:
    """The signals of one worker."""

    def __init__(self) -> None:
        self._teller = SignalFilter()

    def forget(self, places: Iterable[PartitionId]) -> None:
        """What was told of these is no longer known."""
        self._teller.forget({number for _, number in places})

    def delivered(self, partition: int, endpoint: Endpoint, attempt: Attempt) -> bytes | None:
        """An attempt has succeeded."""
        if not self._teller.success(partition, endpoint.id):
            return None
        return _encoder.encode(HealthSignal(outcome="ok", epoch=endpoint.epoch, delivery_id=attempt.delivery_id))

    def failed(self, partition: int, endpoint: Endpoint, attempt: Attempt, now_s: float) -> bytes | None:
        """An attempt has failed; `now_s` is of a monotonic clock."""
        dead = attempt.state == "dead"
        if attempt.result == NOT_SENT:  # the endpoint was not asked
            return self.unsent(endpoint, attempt) if dead else None
        always = dead or bool(effective(profile_of(endpoint.profile).disable, endpoint).consecutive_failures)
        if not self._teller.failure(partition, endpoint.id, now_s, always=always):
            return None
        return _signal("failed", endpoint, attempt)

    def circuit(self, endpoint: Endpoint, circuit: OpenCircuit | None) -> bytes:
        """The endpoint's circuit has opened (again), or it has closed."""
        return _encoder.encode(HealthSignal(outcome="circuit", epoch=endpoint.epoch, circuit=circuit))

    def unsent(self, endpoint: Endpoint, attempt: Attempt) -> bytes:
        """A delivery has died without a request."""
        return _signal("unsent", endpoint, attempt)


def _signal(outcome: Literal["failed", "unsent"], endpoint: Endpoint, attempt: Attempt) -> bytes:
    signal = HealthSignal(
        outcome=outcome,
        epoch=endpoint.epoch,
        delivery_id=attempt.delivery_id,
        event_type=attempt.event_type,
        result=attempt.result,
        status=attempt.status,
        error=attempt.error or "",
        dead=attempt.reason if attempt.state == "dead" else None,
    )
    return _encoder.encode(signal)
