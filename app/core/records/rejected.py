"""The headers of events.rejected: why a record of events.raw was rejected, and where it is.

They follow the headers of the rejected record itself, which the producer chose: the last header of a name is ours.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from app.core.errors import Defect
from app.core.records.headers import RecordHeader

_PREFIX = "rejected-"
#: bytes of `detail`
_MAX_DETAIL = 1024


class RejectedNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A rejected record: the reason, and its coordinates in events.raw."""

    #: one word, such as `not_json`
    reason: str
    #: one sentence
    detail: str
    topic: str
    partition: int
    offset: int
    #: milliseconds
    timestamp: int


def write(notice: RejectedNotice) -> list[RecordHeader]:
    """The headers to append to those of the rejected record."""
    return [
        (_PREFIX + name, str(value).encode("utf-8", "replace")[:_MAX_DETAIL])
        for name, value in msgspec.to_builtins(notice).items()
    ]


def read(headers: Iterable[RecordHeader]) -> RejectedNotice:
    """The notice in the headers of a record. Raises `Defect` when they hold none."""
    try:
        named = {
            name.removeprefix(_PREFIX): text.decode("utf-8", "replace")
            for name, text in headers
            if name.startswith(_PREFIX) and text is not None
        }
        return msgspec.convert(named, RejectedNotice, strict=False)
    except msgspec.ValidationError as error:
        raise Defect(f"a record of events.rejected is not readable: {error}") from error
