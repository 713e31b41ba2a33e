"""Deliveries as CloudEvents 1.0 over HTTP: in structured mode (JSON event format) and in binary mode.

An event that came as a CloudEvent has its own attributes, without those that only steer Hookstream. Other events get
`id`, `type`, `time`, and a `source` that names tenant and mode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import msgspec

from app.core.errors import MalformedEvent, Unrepresentable
from app.core.model.delivery import Delivery
from app.core.model.timestamps import iso, milliseconds, timestamp
from app.profiles.contract import HeaderPairs
from app.profiles.ecmascript_json import quote as json_text

STRUCTURED_TYPE = "application/cloudevents+json; charset=UTF-8"
#: characters of the names and values of all attributes in headers; many servers take 8 KiB of headers
_HEADER_CHARACTERS = 6144
_NAME = re.compile(r"[a-z0-9]{1,64}")
_DATA = frozenset(("data", "data_base64"))
#: they choose whose event it is, who receives it and when, and how it is deduplicated and ordered
_STEERING = frozenset(("tenant", "mode", "idempotencykey", "orderingkey", "channels", "deliverat", "expiresat"))
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_JSON_TYPE = re.compile(r"application/(json|[\w.+-]{1,100}\+json)(; ?charset=[\w-]{1,20})?", re.ASCII | re.IGNORECASE)
#: what a header may hold as it is: visible ASCII without the double quote and the percent sign
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


def structured(delivery: Delivery, data: bytes, *, is_original: bool) -> bytes:
    """The body in structured mode. `is_original`: `data` is the event's own."""
    attributes, has_data = _attributes(delivery)
    if not is_original or "datacontenttype" not in attributes:
        attributes["datacontenttype"] = b'"application/json"'
    if has_data or not is_original:
        attributes["data"] = data
    return b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in attributes.items()) + b"}"


def binary(delivery: Delivery, *, is_original: bool) -> tuple[str, HeaderPairs]:
    """Content type and headers in binary mode; the body is the data. Raises `Unrepresentable`."""
    attributes, _ = _attributes(delivery)
    declared = _as_text(attributes.pop("datacontenttype", b'""'))
    pairs = tuple((f"ce-{name}", quote(_as_text(value), safe=_PLAIN)) for name, value in attributes.items())
    if sum(len(name) + len(value) for name, value in pairs) > _HEADER_CHARACTERS:
        raise Unrepresentable("", f"the event's attributes have more than {_HEADER_CHARACTERS} characters in headers")
    return declared if is_original and _JSON_TYPE.fullmatch(declared) else "application/json", pairs


def _attributes(delivery: Delivery) -> tuple[dict[str, bytes], bool]:
    """The attributes of an event, as JSON by name, and whether it has data."""
    attributes = {
        "specversion": b'"1.0"',
        "id": json_text(delivery.event_id),
        "source": json_text(f"/hookstream/{delivery.tenant}/{delivery.mode}"),
        "type": json_text(delivery.event_type),
        "time": json_text(_time(delivery.created_at)),
    }
    if delivery.format == "native":
        return attributes, True
    try:
        if delivery.format == "ce-binary":
            further = _members.decode((delivery.attributes or "{}").encode())
            return attributes | dict(_own(further)), delivery.body != b""
        members = _members.decode(delivery.body)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent("not_an_event", f"the value is not an event: {error}") from error
    attributes |= dict(_own(members))
    if "data_base64" in members:  # its content is written as `data`
        attributes.pop("datacontenttype", None)
    return attributes, not _DATA.isdisjoint(members)


def _own(members: dict[str, msgspec.Raw]) -> Iterator[tuple[str, bytes]]:
    for name, raw in members.items():
        value = bytes(raw).strip()
        is_attribute = name not in _DATA and name not in _STEERING and name != "time" and _NAME.fullmatch(name)
        if is_attribute and value[:1] not in b"{[n":  # null is absence, and attributes have neither objects nor arrays
            yield name, value


def _as_text(value: bytes) -> str:
    return _text.decode(value) if value[:1] == b'"' else value.decode()


def _time(created_at: str) -> str:
    """A time as RFC 3339 wants it; events may have other forms of ISO 8601."""
    return created_at if _RFC3339.fullmatch(created_at) else iso(milliseconds(timestamp(created_at)))
