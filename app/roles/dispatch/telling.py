"""What dispatch tells health: the signals of its attempts, encoded; most successes give none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from app.core.health_rules import effective
from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.model.http_exchange import NOT_SENT
from app.core.offsets.partitions import Place
from app.core.records.attempt import Attempt
from app.core.records.signal import Signal
from app.core.signals import Teller
from app.profiles.catalog import get as profile_of

_encoder = msgspec.json.Encoder()


class Telling:
    """The signals of one worker."""

    def __init__(self) -> None:
        self._teller = Teller()

    def forget(self, places: Iterable[Place]) -> None:
        """What was told of these is no longer known."""
        self._teller.forget({number for _, number in places})

    def delivered(self, partition: int, endpoint: Endpoint, attempt: Attempt) -> bytes | None:
        """An attempt has succeeded."""
        if not self._teller.success(partition, endpoint.id):
            return None
        return _encoder.encode(Signal(outcome="ok", epoch=endpoint.epoch, delivery_id=attempt.delivery_id))

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
        return _encoder.encode(Signal(outcome="circuit", epoch=endpoint.epoch, circuit=circuit))

    def unsent(self, endpoint: Endpoint, attempt: Attempt) -> bytes:
        """A delivery has died without a request."""
        return _signal("unsent", endpoint, attempt)


def _signal(outcome: Literal["failed", "unsent"], endpoint: Endpoint, attempt: Attempt) -> bytes:
    signal = Signal(
        outcome=outcome, epoch=endpoint.epoch, delivery_id=attempt.delivery_id,
        event_type=attempt.event_type, result=attempt.result, status=attempt.status, error=attempt.error or "",
        dead=attempt.reason if attempt.state == "dead" else None,
    )  # fmt: skip
    return _encoder.encode(signal)
