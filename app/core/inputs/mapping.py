"""From a record of an input's topic to a record of events.raw, or the reason why it becomes none.

Rules of this file
- Pure: the same record gives the same record of events.raw with the same id, however often it is read.
- What fan-out would reject is rejected here, where the reason names the record as its producer knows it.
- `data` is cut out of the record's bytes, not re-encoded.
- A declared field that a record lacks rejects it, unless the field is optional: an event without its tenant would be
  another tenant's, and one without its id would not be recognised when it is read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from app.core.errors import MalformedEvent
from app.core.inputs.cloudevents import in_json, passed_on
from app.core.inputs.declaration import TEXT_FIELDS, InputDeclaration, Source, TimeUnit
from app.core.inputs.presets import with_preset
from app.core.inputs.record_values import InputRecord, JsonOf, RecordValues, TextOf, json_source, text_source
from app.core.inputs.wire_format import Decode, decoded, schema_id
from app.core.model import ids
from app.core.model.event import Event
from app.core.model.event_types import RESERVED
from app.core.model.timestamps import iso
from app.core.records.headers import RecordHeader, size_of
from app.core.records.raw_event import Coordinates, decode_event
from app.core.records.record import ConsumedRecord

#: a record may be so many times as large as the event in it: envelopes, schemas, the row before and after
_ENVELOPE_FACTOR = 4
_SMALLEST_LIMIT = 1024 * 1024
_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,9})?")
_PER_SECOND = {"iso": 1000, "ms": 1000, "s": 1, "us": 1_000_000, "ns": 1_000_000_000}
_PLACE_HEADER = "input-record"
_raw = msgspec.json.Decoder(msgspec.Raw)


class MappedEvent(msgspec.Struct, frozen=True):
    """A record of events.raw, and the event in it."""

    key: bytes
    value: bytes | None
    headers: list[RecordHeader]
    event: Event


class SkippedRecord(msgspec.Struct, frozen=True):
    """A record that becomes no event on purpose."""

    why: Literal["tombstone", "condition"]


class EventLimits(msgspec.Struct, frozen=True):
    """Sizes in bytes: of an event's value, and of a record of events.raw with key and headers."""

    max_event_bytes: int
    max_record_bytes: int

    @property
    def max_input_bytes(self) -> int:
        """The largest value of an input's record that is decoded."""
        return max(_SMALLEST_LIMIT, _ENVELOPE_FACTOR * self.max_event_bytes)


class CompiledInput:
    """One input, with its preset applied."""

    def __init__(self, declared: InputDeclaration, limits: EventLimits) -> None:
        whole = with_preset(declared)
        self.name = declared.name
        self.declared = declared
        self._limits = limits
        self._pattern = re.compile(declared.pattern) if declared.pattern is not None else None
        self._topics = frozenset(declared.topics)
        self._encoded_value = declared.format == "confluent"
        self._encoded_key = declared.key_format == "confluent"
        #: whether schemas are needed to decode its records
        self.needs_schemas = self._encoded_value or self._encoded_key
        self._passes_on = declared.preset == "cloudevents"
        self._unwrap = bool(whole.connect_envelope)
        self._tombstones = whole.tombstones
        self._optional = frozenset(whole.optional or ())
        self._skips = [(text_source(each.source), frozenset(each.values)) for each in whole.skip or ()]
        self._texts: dict[str, TextOf] = {
            name: text_source(field) for name in TEXT_FIELDS if (field := getattr(whole, name)) is not None
        }
        self._unit: TimeUnit = _unit_of(whole)
        self._data: JsonOf = json_source(whole.data if whole.data is not None else Source(path="$"))
        self._metadata = {name: text_source(field) for name, field in (whole.metadata or {}).items()}

    def reads(self, topic: str) -> bool:
        """Whether it reads a topic."""
        return topic in self._topics or (self._pattern is not None and self._pattern.fullmatch(topic) is not None)

    def schemas(self, records: Iterable[ConsumedRecord]) -> set[int]:
        """The ids of the schemas that records name."""
        numbers: set[int | None] = set()
        for record in records:
            if self._encoded_value:
                numbers.add(schema_id(record.value))
            if self._encoded_key:
                numbers.add(schema_id(record.key))
        return {number for number in numbers if number is not None}

    def event_of(
        self, record: InputRecord, decoders: Mapping[int, Decode] = MappingProxyType({})
    ) -> MappedEvent | SkippedRecord:
        """The record of events.raw. Raises `MalformedEvent` with the reason when it becomes none.

        `decoders` has one for each of `schemas`.
        """
        value = record.value or b""
        if not value and not (self._passes_on and self._tombstones is None):
            if self._tombstones == "skip":
                return SkippedRecord("tombstone")
            raise MalformedEvent("empty", "the record has no value")
        limit = self._limits.max_input_bytes
        if self.needs_schemas:
            record = self._decoded(record, decoders)
            value = record.value or b""
        if len(value) > limit:
            raise MalformedEvent("too_large", f"the value has {len(value)} bytes; the limit of an input is {limit}")
        try:
            return self._event_of(record, value)
        except msgspec.ValidationError as error:
            raise MalformedEvent("not_an_event", str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedEvent("not_json", str(error)) from error
        except RecursionError as error:
            raise MalformedEvent("not_json", "nested too deeply") from error

    def _decoded(self, record: InputRecord, decoders: Mapping[int, Decode]) -> InputRecord:
        """The record with JSON in place of values that schemas encode. Encoded, it is no larger than an event."""
        value, key, headers, limit = record.value, record.key, record.headers, self._limits.max_event_bytes
        if self._encoded_value and value:
            value = decoded(value, decoders.__getitem__, "value", limit)
            if self._passes_on:
                headers = in_json(headers)
        if self._encoded_key and key is not None:
            key = decoded(key, decoders.__getitem__, "key", limit)
        return msgspec.structs.replace(record, value=value, key=key, headers=headers)

    def _event_of(self, record: InputRecord, value: bytes) -> MappedEvent | SkippedRecord:
        value.decode()  # msgspec does not check the encoding of what it skips
        if not self._passes_on:
            _raw.decode(value)  # otherwise parts of it could add fields to the event that they become a part of
        values = RecordValues(record.topic, record.key, value, record.headers, unwrap=self._unwrap)
        if any(take(values) in wanted for take, wanted in self._skips):
            return SkippedRecord("condition")
        texts = {name: self._text(name, take, values) for name, take in self._texts.items()}
        if self._passes_on:
            body, headers = passed_on(record, values, texts)
        else:
            body, headers = self._composed(record, values, texts)
        headers += [
            ("input", self.name.encode()),
            (_PLACE_HEADER, f"{record.topic}/{record.partition}/{record.offset}".encode()),
        ]
        return self._checked(record, body, headers)

    def _text(self, name: str, take: TextOf, values: RecordValues) -> str | None:
        text = take(values)
        if not text and name not in self._optional:
            raise MalformedEvent(f"no_{name}", f"the record has nothing from which the input takes {name}")
        return text or None

    def _composed(
        self, record: InputRecord, values: RecordValues, texts: dict[str, str | None]
    ) -> tuple[bytes, list[RecordHeader]]:
        data = self._data(values)
        if data is None:
            raise MalformedEvent("no_data", "the record has nothing from which the input takes data")
        metadata = {name: text for name, take in self._metadata.items() if (text := take(values)) is not None}
        fields: dict[str, object] = {"type": texts["type"]}
        fields["id"] = texts.get("id") or ids.input_event_id(
            record.topic, record.partition, record.offset, record.timestamp
        )
        fields["created_at"] = _created_at(texts.get("time"), self._unit, record.timestamp)
        for name in ("tenant", "mode", "idempotency_key", "ordering_key", "deliver_at", "expires_at"):
            if texts.get(name) is not None:
                fields[name] = texts[name]
        if metadata:
            fields["metadata"] = metadata
        fields["data"] = msgspec.Raw(data)
        return msgspec.json.encode(fields), [each for each in record.headers if each[0].lower() == "traceparent"][-1:]

    def _checked(self, record: InputRecord, body: bytes, headers: list[RecordHeader]) -> MappedEvent:
        """The mapped event, which fan-out will accept."""
        at = Coordinates(record.topic, record.partition, record.offset, record.timestamp)
        event = decode_event(body, headers, at, max_bytes=self._limits.max_event_bytes)
        if event.type.startswith(RESERVED):
            raise MalformedEvent("bad_type", f"types that begin with {RESERVED} are those of the service itself")
        key = (event.ordering_key or event.idempotency_key or event.id).encode()
        mapped = MappedEvent(key, body, headers, event)
        size = size_of(_Sized(key, body, headers))
        if size > self._limits.max_record_bytes:
            raise MalformedEvent("too_large", f"key, value and headers have {size} bytes together")
        return mapped


class _Sized(msgspec.Struct, frozen=True):
    key: bytes | None
    value: bytes | None
    headers: list[RecordHeader]


def _unit_of(declared: InputDeclaration) -> TimeUnit:
    candidates = declared.time if isinstance(declared.time, tuple) else (declared.time,)
    units = {each.unit for each in candidates if isinstance(each, Source)}
    return next(iter(units - {"iso"}), "iso")


def _created_at(text: str | None, unit: TimeUnit, timestamp_ms: int) -> str:
    """ISO 8601. A number counts `unit`s since the epoch, milliseconds without a unit."""
    if text is None:
        return iso(timestamp_ms)
    if not _NUMBER.fullmatch(text):
        return text  # checked with the event
    whole, _, fraction = text.partition(".")
    digits = int(whole + (fraction + "000000000")[:9])  # in units of 10⁻⁹
    return iso(digits * 1000 // (_PER_SECOND[unit] * 1_000_000_000))
