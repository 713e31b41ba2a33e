"""The records of `endpoints.signals`: changes of an endpoint's outcomes, from dispatch to health.

The key is the endpoint's id, the time is the broker's, the value is JSON (schemas/records/endpoints.signals.v1.json).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.errors import Defect
from app.core.model.endpoint import OpenCircuit


class HealthSignal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of endpoints.signals."""

    #: ok: a success after something else; failed: an attempt failed; unsent: a delivery died without a request;
    #: circuit: the endpoint's circuit has opened or closed, or its probe has failed
    outcome: Literal["ok", "failed", "unsent", "circuit"]
    #: the endpoint's epoch when the attempt was made
    epoch: int
    delivery_id: str = ""
    event_type: str = ""
    #: the outcome as one word, as in the attempt
    result: str = ""
    #: the HTTP status; absent when no status line arrived
    status: int | None = None
    #: why the attempt failed, in one sentence
    error: str = ""
    #: why the delivery is dead; absent: it is not
    dead: str | None = None
    #: the circuit after the signal; absent: it is closed
    circuit: OpenCircuit | None = None


_decoder = msgspec.json.Decoder(HealthSignal)
#: bytes of a signal at most. Hookstream writes shorter ones, and notices repeat some of their texts
_MAX_BYTES = 65_536


def read(value: bytes | None) -> HealthSignal:
    """The signal of a record's value. Raises `Defect` when it cannot be decoded."""
    if len(value or b"") > _MAX_BYTES:
        raise Defect(f"a record of endpoints.signals has {len(value or b'')} bytes")
    try:
        return _decoder.decode(value or b"")
    except (ValueError, RecursionError) as error:
        raise Defect(f"a record of endpoints.signals cannot be decoded: {error}") from error
