"""Records of events.raw, and what becomes of them."""

from __future__ import annotations

import json
from typing import Any

from app.core.model.event import Event
from app.core.records.raw_event import Coordinates, decode_event

AT = Coordinates("events.raw", 3, 42, 1_767_323_045_678)


LIMIT = 10_000


Headers = list[tuple[str, bytes]]


STRUCTURED: Headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


BINARY: Headers = [("ce_id", b"1"), ("ce_type", b"a.b"), ("ce_source", b"/s"), ("ce_specversion", b"1.0")]


CLOUD = {"id": "1", "type": "a.b", "source": "/s", "specversion": "1.0"}


MINIMAL = b'{"type":"a.b","data":{}}'


def read(value: bytes | None, headers: Headers | None = None, at: Coordinates = AT, limit: int = LIMIT) -> Event:
    return decode_event(value, headers or [], at, max_bytes=limit)


def native(**fields: Any) -> bytes:
    return json.dumps({"type": "a.b", "data": {}} | fields).encode()


def cloud(**fields: Any) -> bytes:
    return json.dumps(CLOUD | fields).encode()


def shown(event: Event, *fields: str) -> tuple[Any, ...]:
    return tuple(getattr(event, field) for field in fields)
