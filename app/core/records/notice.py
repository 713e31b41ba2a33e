"""The records of `notices`: what the owner of an endpoint is notified of.

The key is the tenant, the value is JSON (schemas/records/notices.v1.json).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.errors import Defect
from app.core.model.event import Mode

NoticeKind = Literal[
    "endpoint.failing",
    "endpoint.disabled",
    "endpoint.recovered",
    "endpoint.circuit_opened",
    "endpoint.circuit_closed",
    "delivery.dead",
]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """The value of a record of notices."""

    #: deterministic: a notice that is written twice has the same id
    id: str
    tenant: str
    mode: Mode
    kind: NoticeKind
    #: when the signal that caused the notice was appended, ISO 8601 in UTC
    at: str
    endpoint_id: str
    #: the notice in one sentence
    summary: str
    #: the facts of the sentence, for programs; the names depend on the kind
    data: dict[str, str | int | float | None]


_decoder = msgspec.json.Decoder(Notice)


def read(value: bytes | None) -> Notice:
    """The notice of a record's value. Raises `Defect` when it cannot be decoded."""
    try:
        return _decoder.decode(value or b"")
    except (ValueError, RecursionError) as error:
        raise Defect(f"a record of notices cannot be decoded: {error}") from error
