"""The headers of `deliveries.dead` that say whether a delivery is parked."""

from __future__ import annotations

from collections.abc import Sequence

from app.core.records.headers import RecordHeader
from app.core.records.record import ConsumedRecord

#: the headers of a delivery that waits for its endpoint's resume
PARKED: list[RecordHeader] = [("reason", b"paused"), ("last-result", b"paused")]
#: of a delivery that was put aside, no longer true once it goes on
_ENDED = frozenset(
    (
        "reason",
        "last-result",
        "last-status",
        "last-error",
        "died-at",
        "due-at",
        "waiting-since",
        "registry-position",
        "arrival",
        "released",
    )
)


def is_parked(record: ConsumedRecord, endpoint_key: bytes) -> bool:
    """Whether a record of deliveries.dead waits for the resume of that endpoint."""
    return record.key == endpoint_key and ("reason", b"paused") in record.headers


def released(headers: Sequence[RecordHeader], position: int) -> list[RecordHeader]:
    """The headers of a delivery that was put aside and goes on.

    `position` is how far the registry has been read where the endpoint is active again: whoever sends it must have read
    as far, or it would be put aside once more.
    """
    kept = [(name, text) for name, text in headers if name not in _ENDED and text is not None]
    return [*kept, ("registry-position", b"%d" % position)]
