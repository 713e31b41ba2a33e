"""The records of `deliveries.dead`: dead letters, and deliveries that are parked until their endpoint resumes.

Key and value are those of the delivery. The header `reason` is `paused` on a parked delivery, and why it died on a dead
letter.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.core.records.headers import RecordHeader
from app.core.records.record import ConsumedRecord

#: the headers that mark a delivery as parked
PARKED: list[RecordHeader] = [("reason", b"paused"), ("last-result", b"paused")]
#: headers of a parked delivery that no longer apply once it is released
_PARKED_ONLY = frozenset(
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
    """Whether a record of deliveries.dead is a parked delivery of that endpoint."""
    return record.key == endpoint_key and ("reason", b"paused") in record.headers


def released(headers: Sequence[RecordHeader], position: int) -> list[RecordHeader]:
    """The headers of a parked delivery that goes on.

    `position` is a registry offset at which the endpoint is active again. Dispatch must have read up to there;
    otherwise it would park the delivery once more.
    """
    remaining = [(name, text) for name, text in headers if name not in _PARKED_ONLY and text is not None]
    return [*remaining, ("registry-position", b"%d" % position)]
