"""The values of one record that sources take: from headers, the key, the value, the topic's name, or constants."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from app.core.errors import MalformedEvent
from app.core.inputs.declaration import Field, Source
from app.core.inputs.json_paths import JsonDocument, parse_path, parsed_text, text_of

#: the text, or the JSON bytes, that a record has for a source; None if it has none
TextOf = Callable[["RecordValues"], str | None]
JsonOf = Callable[["RecordValues"], bytes | None]


class InputRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record of an input's topic."""

    topic: str
    partition: int
    offset: int
    #: milliseconds since the epoch
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class RecordValues:
    """One record. Methods raise `MalformedEvent`, `msgspec.DecodeError` and `RecursionError`."""

    __slots__ = ("_headers", "_key", "_key_document", "_unwrap", "document", "topic")

    def __init__(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Sequence[tuple[str, bytes]],
        *,
        unwrap: bool,
    ) -> None:
        """`value` is UTF-8. `unwrap`: take payloads out of the envelopes of Kafka Connect."""
        self.topic = topic
        self._key = key
        self._headers = headers
        self._unwrap = unwrap
        self._key_document: JsonDocument | None = None
        document = JsonDocument(value)
        self.document = document.connect_payload() if unwrap else document

    def header(self, name: str) -> str | None:
        """The last header of that name, as text."""
        for header, value in reversed(self._headers):
            if header == name:
                return None if value is None else self._plain_text(value, "bad_header", f"the header {name}")
        return None

    def key_text(self) -> str | None:
        """The key as text; a JSON string without its quotes."""
        return None if self._key is None else self._plain_text(self._key, "bad_key", "the key")

    def key_at(self, path: tuple[str | int, ...]) -> str | None:
        """The value at a path of a key that is JSON, as text."""
        if self._key is None:
            return None
        if self._key_document is None:
            _utf8(self._key, "bad_key", "the key")
            document = JsonDocument(self._key)
            self._key_document = document.connect_payload() if self._unwrap else document
        raw = self._key_document.at(path)
        return None if raw is None else text_of(raw)

    def _plain_text(self, value: bytes, reason: str, what: str) -> str | None:
        """A text that may have been written by a JSON converter: then the string in it."""
        text = _utf8(value, reason, what)
        if text[:1] not in ('"', "{", "["):
            return text
        try:
            document = JsonDocument(value)
            if self._unwrap and text[:1] == "{":
                document = document.connect_payload()
            return text_of(document.value)
        except (msgspec.DecodeError, RecursionError):
            return text


def _utf8(value: bytes, reason: str, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise MalformedEvent(reason, f"{what} is not UTF-8") from error


def text_source(field: Field) -> TextOf:
    """How a field's text is taken: from the first of its candidates that a record has."""
    candidates = field if isinstance(field, tuple) else (field,)
    takes = [_constant(each) if isinstance(each, str) else _text(each) for each in candidates]
    return takes[0] if len(takes) == 1 else lambda record: _first(takes, record)


def json_source(field: Field) -> JsonOf:
    """How a field's JSON is taken; texts become JSON strings."""
    candidates = field if isinstance(field, tuple) else (field,)
    takes = [_json(Source(constant=each) if isinstance(each, str) else each) for each in candidates]
    return takes[0] if len(takes) == 1 else lambda record: _first_json(takes, record)


def _first(takes: Sequence[TextOf], record: RecordValues) -> str | None:
    return next((text for take in takes if (text := take(record)) is not None), None)


def _first_json(takes: Sequence[JsonOf], record: RecordValues) -> bytes | None:
    return next((raw for take in takes if (raw := take(record)) is not None), None)


def _constant(text: str) -> TextOf:
    return lambda record: text


def _text(source: Source) -> TextOf:
    take = _unmapped(source)
    if source.map is None:
        return take
    names = source.map
    return lambda record: names.get(text) if (text := take(record)) is not None else None


def _unmapped(source: Source) -> TextOf:
    (kind,) = source.kinds()
    match kind:
        case "header":
            name = source.header or ""
            return lambda record: record.header(name)
        case "key":
            return _key(source.key)
        case "path":
            path = parse_path(source.path or "")
            return lambda record: text_of(raw) if (raw := record.document.at(path)) is not None else None
        case "topic":
            return _topic(source.topic)
        case "constant":
            return _constant(source.constant or "")
        case _:
            return _joined([_text(each) for each in source.join or ()], source.separator)


def _key(key: bool | str | None) -> TextOf:
    if not isinstance(key, str):
        return lambda record: record.key_text()
    path = parse_path(key)
    return lambda record: record.key_at(path)


def _topic(topic: bool | str | None) -> TextOf:
    if not isinstance(topic, str):
        return lambda record: record.topic
    pattern = re.compile(topic)

    def take(record: RecordValues) -> str | None:
        match = pattern.fullmatch(record.topic)
        return None if match is None else match[1 if pattern.groups else 0]

    return take


def _joined(takes: Sequence[TextOf], separator: str) -> TextOf:
    def take(record: RecordValues) -> str | None:
        parts: list[str] = []
        for each in takes:
            part = each(record)
            if part is None:
                return None
            parts.append(part)
        return separator.join(parts)

    return take


def _json(source: Source) -> JsonOf:
    if source.path is not None:
        path, parse = parse_path(source.path), source.parse

        def at(record: RecordValues) -> bytes | None:
            raw = record.document.at(path)
            return parsed_text(raw) if raw is not None and parse else raw

        return at
    if source.object is not None:
        return _object({name: _json(each) for name, each in source.object.items()})
    take = _text(source)

    def quoted(record: RecordValues) -> bytes | None:
        text = take(record)
        if text is None:
            return None
        raw = msgspec.json.encode(text)
        return parsed_text(raw) if source.parse else raw

    return quoted


def _object(members: dict[str, JsonOf]) -> JsonOf:
    """An object; a member that a record lacks is null."""

    def take(record: RecordValues) -> bytes | None:
        values = {name: each(record) for name, each in members.items()}
        return msgspec.json.encode({name: msgspec.Raw(raw or b"null") for name, raw in values.items()})

    return take
