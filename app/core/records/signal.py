"""The records of `endpoints.signals`."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.errors import Defect
from app.core.model.endpoint import OpenCircuit


class HealthSignal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The value of a record of endpoints.signals; its key is the endpoint's id, its time the broker's."""

    #: ok: a success after something else; failed: an attempt failed; unsent: a delivery died without a request;
    #: circuit: the endpoint's circuit has opened or closed, or its probe has failed
    outcome: Literal["ok", "failed", "unsent", "circuit"]
    #: the endpoint's epoch when the attempt was made
    epoch: int
    delivery_id: str = ""
    event_type: str = ""
    #: the outcome as a closed word, as in the attempt
    result: str = ""
    #: the HTTP status, where there was one
    status: int | None = None
    #: why it failed, in one sentence
    error: str = ""
    #: why the delivery is dead, if it is
    dead: str | None = None
    #: the circuit from now on; absent: it is closed
    circuit: OpenCircuit | None = None


_decoder = msgspec.json.Decoder(HealthSignal)
#: bytes of a signal; ours are shorter, and notices repeat some of its texts
_LONGEST = 65_536


def read(value: bytes | None) -> HealthSignal:
    """The signal of a record; `Defect` when it is none."""
    if len(value or b"") > _LONGEST:
        raise Defect(f"a record of endpoints.signals has {len(value or b'')} bytes")
    try:
        return _decoder.decode(value or b"")
    except (ValueError, RecursionError) as error:
        raise Defect(f"a record of endpoints.signals is not readable: {error}") from error
