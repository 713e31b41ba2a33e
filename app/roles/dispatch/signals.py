"""The records of endpoints.signals: which outcomes of attempts are signalled to health.

Rules of this file
- A success is signalled when the endpoint's last signal was not a success. After a restart, or an assignment of its
  partition, that is unknown, so the first success is signalled.
- A failure is signalled. While an endpoint goes on failing, ten a minute suffice for a rule in days; a rule that counts
  failures needs every one.
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


class _Window(NamedTuple):
    since_s: float
    #: failures signalled in it
    number: int


class _Memory:
    __slots__ = ("failing", "well")

    def __init__(self) -> None:
        #: endpoints whose last signal was a success
        self.well: set[str] = set()
        #: endpoints whose last signal was a failure
        self.failing: dict[str, _Window] = {}


class SignalFilter:
    """What one dispatch worker has signalled about the endpoints of its partitions."""

    def __init__(self) -> None:
        self._memories: dict[int, _Memory] = {}

    def forget(self, partitions: Collection[int]) -> None:
        """Partitions were assigned: another worker may have sent signals about their endpoints."""
        for number in partitions:
            self._memories.pop(number, None)

    def success(self, partition: int, endpoint_id: str) -> bool:
        """Whether to signal a success."""
        memory = self._memories.get(partition)
        if memory is None:
            memory = self._memories[partition] = _Memory()
        if endpoint_id in memory.well:
            return False
        memory.well.add(endpoint_id)
        memory.failing.pop(endpoint_id, None)
        return True

    def failure(self, partition: int, endpoint_id: str, now_s: float, *, always: bool) -> bool:
        """Whether to signal a failure; `always`: a rule counts each one."""
        memory = self._memories.setdefault(partition, _Memory())
        memory.well.discard(endpoint_id)
        window = memory.failing.get(endpoint_id)
        if window is None or now_s - window.since_s >= _WINDOW_S:
            window = _Window(now_s, 0)
        if window.number >= _PER_WINDOW and not always:
            return False
        memory.failing[endpoint_id] = _Window(window.since_s, window.number + 1)
        return True


_encoder = msgspec.json.Encoder()


class SignalEncoder:
    """Encodes the signals of one worker; None for outcomes that are not signalled."""

    def __init__(self) -> None:
        self._filter = SignalFilter()

    def forget(self, places: Iterable[PartitionId]) -> None:
        """See `SignalFilter.forget`."""
        self._filter.forget({number for _, number in places})

    def delivered(self, partition: int, endpoint: Endpoint, attempt: Attempt) -> bytes | None:
        """An attempt succeeded."""
        if not self._filter.success(partition, endpoint.id):
            return None
        return _encoder.encode(HealthSignal(outcome="ok", epoch=endpoint.epoch, delivery_id=attempt.delivery_id))

    def failed(self, partition: int, endpoint: Endpoint, attempt: Attempt, now_s: float) -> bytes | None:
        """An attempt failed; `now_s` is monotonic."""
        dead = attempt.state == "dead"
        if attempt.result == NOT_SENT:  # there was no request
            return self.unsent(endpoint, attempt) if dead else None
        always = dead or bool(effective(profile_of(endpoint.profile).disable, endpoint).consecutive_failures)
        if not self._filter.failure(partition, endpoint.id, now_s, always=always):
            return None
        return _signal("failed", endpoint, attempt)

    def circuit(self, endpoint: Endpoint, circuit: OpenCircuit | None) -> bytes:
        """The endpoint's circuit has opened, or its probe failed, or it has closed (None)."""
        return _encoder.encode(HealthSignal(outcome="circuit", epoch=endpoint.epoch, circuit=circuit))

    def unsent(self, endpoint: Endpoint, attempt: Attempt) -> bytes:
        """A delivery died without a request."""
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
