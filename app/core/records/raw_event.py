"""The records of `events.raw`: events as native JSON, structured CloudEvents or binary CloudEvents (DESIGN section 2).

The key is the producer's. The headers `tenant`, `mode`, `idempotency-key`, `ordering-key`, `channels`, `subject`,
`deliver-at`, `expires-at` and `traceparent` take precedence over fields. `data` is never re-encoded: it is cut out of
the record's bytes, here for checking and in `data_of` for sending. A value is a CloudEvent if its content type is that
of CloudEvents, or if it has a `specversion`, because some producers cannot set headers.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from app.core import limits
from app.core.errors import MalformedEvent
from app.core.model import ids
from app.core.model.channels import channels_of, is_channel
from app.core.model.delivery import Delivery
from app.core.model.erasure import subject_of
from app.core.model.event import Event, EventFormat, Mode
from app.core.model.event_times import delivery_window, point_in_time
from app.core.model.event_types import is_event_type
from app.core.model.timestamps import iso, milliseconds, timestamp

_NAME = re.compile(r"[\x21-\x7e]{1,256}")
_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{0,400})?")
_CLOUDEVENTS = "application/cloudevents"
_CLOUDEVENTS_JSON = f"{_CLOUDEVENTS}+json"
#: the attributes that every CloudEvent has: one of them as a header makes a record a binary CloudEvent
_BINARY = frozenset(("ce_specversion", "ce_id", "ce_source", "ce_type"))
_HEADERS = frozenset(
    (
        *("content-type", "tenant", "mode", "idempotency-key", "ordering-key", "channels", "deliver-at", "expires-at"),
        *("subject", "traceparent"),
    )
)
#: attributes that a delivery has in headers of its own, and those that only steer
_CARRIED = frozenset(
    (
        *("ce_specversion", "ce_id", "ce_type", "ce_time", "ce_tenant", "ce_mode", "ce_idempotencykey"),
        *("ce_orderingkey", "ce_channels", "ce_datasubject", "ce_deliverat", "ce_expiresat"),
    )
)
#: characters of JSON of all further attributes of a binary CloudEvent; if they have more, only its source is kept
_ATTRIBUTES = 4096
#: so many brackets fit onto the stack of every interpreter
_SURELY_SHALLOW = 200
#: a later decoder may be called from so many calls deeper than this one
_MARGIN = 200


class _Native(msgspec.Struct):
    type: str
    data: msgspec.Raw
    id: str | None = None
    created_at: str | None = None
    tenant: str | None = None
    mode: str | None = None
    idempotency_key: str | None = None
    ordering_key: str | None = None
    metadata: dict[str, msgspec.Raw] | None = None
    channels: list[str] | None = None
    subject: str | None = None
    deliver_at: str | None = None
    expires_at: str | None = None


class _CloudEvent(msgspec.Struct):
    id: str
    type: str
    source: str
    specversion: str
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_base64: str | None = None
    tenant: str | None = None
    mode: str | None = None
    idempotencykey: str | None = None
    orderingkey: str | None = None
    #: comma-separated
    channels: str | None = None
    datasubject: str | None = None
    deliverat: str | None = None
    expiresat: str | None = None
    traceparent: str | None = None


class _NativeData(msgspec.Struct):
    data: msgspec.Raw


class _NativeFields(msgspec.Struct):
    data: Any
    metadata: Any = None


class _Versioned(msgspec.Struct):
    specversion: msgspec.Raw = msgspec.Raw(b"null")


_native = msgspec.json.Decoder(_Native)
_versioned = msgspec.json.Decoder(_Versioned)
_cloud_event = msgspec.json.Decoder(_CloudEvent)
_native_data = msgspec.json.Decoder(_NativeData)
_native_fields = msgspec.json.Decoder(_NativeFields)
_any = msgspec.json.Decoder(Any)
_raw = msgspec.json.Decoder(msgspec.Raw)


class Coordinates(msgspec.Struct, frozen=True):
    """The coordinates and the timestamp of a record."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


def is_tenant(text: str) -> bool:
    """Whether `text` can be the id of a tenant."""
    return _TENANT.fullmatch(text) is not None


def decode_event(
    value: bytes | None, headers: Iterable[tuple[str, bytes]], at: Coordinates, *, max_bytes: int
) -> Event:
    """The event of one record. Raises `MalformedEvent` with the reason when it is none."""
    if value is not None and len(value) > max_bytes:
        raise MalformedEvent("too_large", f"the value has {len(value)} bytes; the limit is {max_bytes}")
    named = _texts(headers)
    content_type = named.get("content-type", "").lower()
    try:
        if content_type.startswith(_CLOUDEVENTS):
            return _structured(value, content_type, named, at)
        if not _BINARY.isdisjoint(named):
            return _binary(value, content_type, named, at)
        return _plain(value, named, at)
    except msgspec.ValidationError as error:
        raise MalformedEvent("not_an_event", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedEvent("not_json", str(error)) from error
    except RecursionError as error:
        raise MalformedEvent("not_json", "nested too deeply") from error


def data_of(body: bytes, kind: EventFormat) -> bytes:
    """The bytes of `data` in an event's record value; `null` for a CloudEvent without it.

    Raises `MalformedEvent` when the value is not an event.
    """
    try:
        if kind == "native":
            return bytes(_native_data.decode(body).data)
        if kind == "ce-binary":
            return body or b"null"
        event = _cloud_event.decode(body)
        return bytes(event.data) if event.data_base64 is None else b64decode(event.data_base64)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent("not_an_event", f"the value is not an event: {error}") from error


def fields_of(event: Event) -> dict[str, Any]:
    """The fields of an event that filters compare; absent ones are left out, and `created_at` is in UTC.

    Raises `MalformedEvent` when `data` has numbers out of range.
    """
    return _fields(event.id, event.type, event.created_at, event.ordering_key, event.body, event.format)


def delivery_fields(delivery: Delivery) -> dict[str, Any]:
    """The same fields of a delivery's event."""
    event = delivery.event_id, delivery.event_type, delivery.created_at, delivery.ordering_key
    return _fields(*event, delivery.body, delivery.format)


def _fields(
    event_id: str, event_type: str, created_at: str, ordering_key: str | None, body: bytes, kind: EventFormat
) -> dict[str, Any]:
    fields: dict[str, Any] = {"id": event_id, "type": event_type, "created_at": _in_utc(created_at)}
    if ordering_key is not None:
        fields["ordering_key"] = ordering_key
    try:
        if kind == "native":
            native = _native_fields.decode(body)
            fields["data"] = native.data
            if native.metadata is not None:
                fields["metadata"] = native.metadata
        else:
            fields["data"] = _any.decode(data_of(body, kind))
    except (ValueError, RecursionError) as error:
        raise MalformedEvent("not_an_event", f"its fields cannot be compared: {error}") from error
    return fields


def _in_utc(created_at: str) -> str:
    return iso(milliseconds(timestamp(created_at)))


def _texts(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """The headers that Hookstream uses; others, which a producer's tools add, may be binary."""
    try:
        lower = ((name.lower(), value) for name, value in headers)
        return {name: (value or b"").decode() for name, value in lower if name in _HEADERS or name.startswith("ce_")}
    except UnicodeDecodeError as error:
        raise MalformedEvent("bad_header", "a header of the record is not UTF-8") from error


def _utf8(value: bytes | None) -> bytes:
    if not value:
        raise MalformedEvent("empty", "the record has no value")
    value.decode()  # msgspec does not check the encoding inside of `data`
    return value


def _not_too_deep(body: bytes) -> None:
    """Refuse a value that only just fits onto the stack: it will be decoded again, perhaps from deeper calls."""
    if body.count(b"[") + body.count(b"{") > _SURELY_SHALLOW:
        _from_below(_MARGIN, body)


def _from_below(frames: int, body: bytes) -> None:
    if frames:
        _from_below(frames - 1, body)
    else:
        _raw.decode(body)


def _plain(value: bytes | None, named: Mapping[str, str], at: Coordinates) -> Event:
    body = _utf8(value)
    if b"specversion" in body and _is_cloud_event(body):
        return _structured(value, _CLOUDEVENTS_JSON, named, at)
    decoded = _native.decode(body)
    _not_too_deep(body)
    key = named.get("idempotency-key") or decoded.idempotency_key or decoded.id
    return _event(
        decoded.type,
        decoded.id,
        decoded.created_at,
        named.get("tenant") or decoded.tenant,
        named.get("mode") or decoded.mode,
        key,
        named.get("ordering-key") or decoded.ordering_key,
        _channels(named, decoded.channels),
        named.get("subject") or decoded.subject,
        named.get("deliver-at") or decoded.deliver_at,
        named.get("expires-at") or decoded.expires_at,
        named.get("traceparent"),
        body,
        "native",
        at,
    )


def _is_cloud_event(body: bytes) -> bool:
    """Whether a value without the content type of CloudEvents is a CloudEvent."""
    return bytes(_versioned.decode(body).specversion) != b"null"


def _structured(value: bytes | None, content_type: str, named: Mapping[str, str], at: Coordinates) -> Event:
    if not content_type.startswith(_CLOUDEVENTS_JSON):
        raise MalformedEvent("unsupported_content", f"CloudEvents as {content_type}: only the JSON format is supported")
    body = _utf8(value)
    attributes = _cloud_event.decode(body)
    _not_too_deep(body)
    if attributes.data_base64 is not None:
        try:
            _raw.decode(_utf8(b64decode(attributes.data_base64, validate=True)))
        except ValueError as error:
            raise MalformedEvent("not_json", f"data_base64 does not hold JSON: {error}") from error
    return _from_cloud_event(attributes, named, body, "ce-structured", at)


def _binary(value: bytes | None, content_type: str, named: Mapping[str, str], at: Coordinates) -> Event:
    kind = content_type.partition(";")[0].strip()
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise MalformedEvent("unsupported_content", f"data as {kind}: only JSON can be delivered")
    if value:
        _raw.decode(_utf8(value))
        _not_too_deep(value)
    attributes = msgspec.convert(
        {name[3:]: text for name, text in named.items() if name.startswith("ce_")}, _CloudEvent
    )
    event = _from_cloud_event(attributes, named, value or b"", "ce-binary", at)
    return msgspec.structs.replace(event, attributes=_further_attributes(named, content_type))


def _further_attributes(named: Mapping[str, str], content_type: str) -> str | None:
    """The attributes of a binary CloudEvent that a delivery has nowhere else; None if even the source is too long."""
    further = {name[3:]: text for name, text in named.items() if name.startswith("ce_") and name not in _CARRIED}
    if content_type:
        further["datacontenttype"] = content_type
    for attributes in (further, {"source": named["ce_source"]}):
        encoded = msgspec.json.encode(attributes)
        if len(encoded) <= _ATTRIBUTES:
            return encoded.decode()
    return None


def _from_cloud_event(
    attributes: _CloudEvent, named: Mapping[str, str], body: bytes, kind: EventFormat, at: Coordinates
) -> Event:
    if attributes.specversion != "1.0":
        raise MalformedEvent("unsupported_content", f"CloudEvents {attributes.specversion}: only 1.0 is supported")
    if not attributes.id or not attributes.source:
        raise MalformedEvent("not_an_event", "a CloudEvent has a non-empty id and source")
    # The specification makes source and id together unique, not the id alone.
    key = named.get("idempotency-key") or attributes.idempotencykey or f"{attributes.source} {attributes.id}"
    trace = named.get("traceparent") or attributes.traceparent
    return _event(
        attributes.type,
        attributes.id,
        attributes.time,
        named.get("tenant") or attributes.tenant,
        named.get("mode") or attributes.mode,
        key,
        named.get("ordering-key") or attributes.orderingkey,
        _channels(named, attributes.channels),
        named.get("subject") or attributes.datasubject,
        named.get("deliver-at") or attributes.deliverat,
        named.get("expires-at") or attributes.expiresat,
        trace,
        body,
        kind,
        at,
    )


def _event(
    event_type: str,
    event_id: str | None,
    created_at: str | None,
    tenant: str | None,
    mode: str | None,
    key: str | None,
    ordering_key: str | None,
    channels: tuple[str, ...],
    subject: str | None,
    deliver_at: str | None,
    expires_at: str | None,
    traceparent: str | None,
    body: bytes,
    kind: EventFormat,
    at: Coordinates,
) -> Event:
    if not is_event_type(event_type):
        raise MalformedEvent("bad_type", f"type {event_type!r}: dot-joined segments of letters, digits, _ and -")
    if event_id is not None and not _NAME.fullmatch(event_id):
        raise MalformedEvent("bad_id", "id: 1 to 256 visible ASCII characters, since it is sent in a header")
    if tenant is not None and not is_tenant(tenant):
        raise MalformedEvent("bad_tenant", f"tenant {tenant!r}: 1 to 128 of letters, digits, _, . and -")
    if created_at is not None:
        point_in_time("created_at", created_at)
    if (key is not None and len(key) > 512) or (ordering_key is not None and len(ordering_key) > 512):
        raise MalformedEvent("bad_key", "idempotency and ordering keys have at most 512 characters")
    is_timed = deliver_at is not None or expires_at is not None
    begin_ms, end_ms = delivery_window(deliver_at, expires_at, at.timestamp_ms) if is_timed else (None, None)
    return Event(
        id=event_id or ids.event_id(at.topic, at.partition, at.offset),
        type=event_type,
        tenant=tenant or "default",
        mode=_mode(mode),
        created_at=created_at or iso(at.timestamp_ms),
        body=body,
        format=kind,
        idempotency_key=key or None,
        ordering_key=ordering_key or None,
        channels=channels,
        subject=subject_of(subject),
        deliver_at_ms=begin_ms,
        expires_at_ms=end_ms,
        # sent in a header, where a malformed value is of no use
        traceparent=traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None,
    )


def _channels(named: Mapping[str, str], field: Sequence[str] | str | None) -> tuple[str, ...]:
    channels = named.get("channels") or field
    if not channels:
        return ()
    if isinstance(channels, str):
        channels = channels_of(channels)
    if len(channels) > limits.CHANNELS or not all(map(is_channel, channels)):
        rule = f"at most {limits.CHANNELS}, each of 1 to {limits.CHANNEL} letters, digits, _, ., : and -"
        raise MalformedEvent("bad_channels", f"channels: {rule}")
    return tuple(channels)


def _mode(text: str | None) -> Mode:
    match text:
        case None | "" | "live":
            return "live"
        case "test":
            return "test"
        case _:
            raise MalformedEvent("bad_mode", f"mode {text!r}: live or test")
