"""Paths into JSON, such as `$.payload.items[0]`, and the bytes at them. Nothing is re-encoded."""

from __future__ import annotations

import re
from typing import Any

import msgspec

JsonPath = tuple[str | int, ...]

_SEGMENT = re.compile(r"\.([A-Za-z0-9_$@-]+)|\[([0-9]{1,6})\]|\['([^']{1,256})'\]")
#: segments of a path
MAX_SEGMENTS = 16
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)


def parse_path(text: str) -> JsonPath:
    """The segments of a path; `$` is the whole document. Raises `ValueError` with a sentence."""
    if not text.startswith("$"):
        raise ValueError(f"{text!r} is not a path: it begins with $, such as $.order.id")
    segments: list[str | int] = []
    at = 1
    while at < len(text):
        match = _SEGMENT.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} is not a path at {text[at : at + 20]!r}: write $.a.b[0]['c d']")
        name, index, quoted = match.groups()
        segments.append(int(index) if index is not None else name or quoted)
        at = match.end()
    if len(segments) > MAX_SEGMENTS:
        raise ValueError(f"{text[:80]!r} has more than {MAX_SEGMENTS} segments")
    return tuple(segments)


class JsonDocument:
    """A JSON text whose parts are cut out as bytes. Each object on the way is decoded once, one level deep."""

    __slots__ = ("_levels", "value")

    def __init__(self, value: bytes) -> None:
        """`value` is UTF-8. Methods raise `msgspec.DecodeError` where it is not JSON, and `RecursionError`."""
        self.value = value
        self._levels: dict[JsonPath, Any] = {}

    def at(self, path: JsonPath) -> bytes | None:
        """The bytes of the value at a path; None if there is none."""
        if not path:
            return self.value
        level = self._level(path[:-1])
        last = path[-1]
        if isinstance(level, dict):
            piece = level.get(last)
        elif isinstance(level, list) and isinstance(last, int) and last < len(level):
            piece = level[last]
        else:
            return None
        return None if piece is None else bytes(piece)

    def _level(self, path: JsonPath) -> Any:
        """The members of the object or array at a path, as bytes; None for any other value."""
        if path not in self._levels:
            raw = self.at(path)
            first = raw.lstrip()[:1] if raw is not None else b""
            members: Any = None
            if raw is not None and first == b"{":
                members = _object.decode(raw)
            elif raw is not None and first == b"[":
                members = _array.decode(raw)
            self._levels[path] = members
        return self._levels[path]

    def connect_payload(self) -> JsonDocument:
        """The payload, where this is an envelope of Kafka Connect's JsonConverter (`schema` and `payload` alone)."""
        level = self._level(())
        if isinstance(level, dict) and level.keys() == {"schema", "payload"}:
            return JsonDocument(bytes(level["payload"]))
        return self


def text_of(raw: bytes) -> str | None:
    """A JSON value as text: strings without quotes, objects and arrays without spaces; None for null."""
    raw = raw.strip()
    if raw == b"null":
        return None
    if raw.startswith(b'"'):
        return _text.decode(raw)
    return msgspec.json.format(raw, indent=-1).decode()


def parsed_text(raw: bytes) -> bytes:
    """The JSON object or array that a JSON string holds as text; any other value as it is."""
    if not raw.lstrip().startswith(b'"'):
        return raw
    text = _text.decode(raw).strip().encode()
    if not text.startswith((b"{", b"[")):
        return raw
    try:
        return bytes(msgspec.json.decode(text, type=msgspec.Raw))
    except msgspec.DecodeError:
        return raw
