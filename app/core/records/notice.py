"""The records of the topic notices: what the owner of an endpoint should hear of."""

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
    """The value of a record of notices; its key is the tenant."""

    #: a notice that is written twice has the same id
    id: str
    tenant: str
    mode: Mode
    kind: NoticeKind
    #: ISO 8601, UTC: when the signal that led to it was appended
    at: str
    endpoint_id: str
    #: one sentence
    summary: str
    #: what the sentence says, for programs; the names depend on the kind
    data: dict[str, str | int | float | None]


_decoder = msgspec.json.Decoder(Notice)


def read(value: bytes | None) -> Notice:
    """The notice of a record; `Defect` when it is none."""
    try:
        return _decoder.decode(value or b"")
    except (ValueError, RecursionError) as error:
        raise Defect(f"a record of notices is not readable: {error}") from error
