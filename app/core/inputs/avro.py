"""Avro's binary encoding, decoded by the writer's schema into values that JSON can express.

Rules of this file
- Bytes and `fixed` become base64, decimals texts, dates and times ISO 8601; outside of the calendar they stay numbers.
- A union is the value of its branch.
- The work is bounded, whatever the schema and the data are: `MAX_VALUES` values of one record, `MAX_NAME_BYTES` of
  names, `MAX_DEPTH` records within one another, schemas of `MAX_NODES` types. Otherwise a few bytes could stand for any
  number of values that take no bytes, or of long names.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from app.core.errors import MalformedEvent

MAX_VALUES = 100_000
#: characters of the names of fields and symbols in one decoded record
MAX_NAME_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 60
MAX_NODES = 5_000
_MAX_SCHEMA_DEPTH = 60
#: bytes of a decimal
_MAX_DECIMAL = 128
_float, _double = struct.Struct("<f"), struct.Struct("<d")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}


class UnusableSchema(Exception):
    """A schema cannot be used; the message is one sentence."""


class _Cursor:
    """A position in the encoded bytes, and the values that were decoded so far."""

    __slots__ = ("at", "data", "depth", "left", "names_left")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.depth = 0
        self.left = MAX_VALUES
        self.names_left = MAX_NAME_BYTES

    def take(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise _malformed("it ends within a value")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def long(self) -> int:
        number = shift = 0
        data, at = self.data, self.at
        while True:
            if at >= len(data) or shift > 63:
                raise _malformed("a number is cut off or too long")
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.at = at
                return (number >> 1) ^ -(number & 1)
            shift += 7

    def spend(self, values: int = 1) -> None:
        self.left -= values
        if self.left < 0:
            raise MalformedEvent("too_large", f"the record has more than {MAX_VALUES} values")

    def spend_names(self, size: int) -> None:
        self.names_left -= size
        if self.names_left < 0:
            raise MalformedEvent("too_large", f"names in the record have more than {MAX_NAME_BYTES} characters")


_Reader = Callable[[_Cursor], Any]


def avro_decoder(schema: str, references: Sequence[str] = ()) -> Callable[[bytes], bytes]:
    """A function from an encoded value to JSON, which raises `MalformedEvent`.

    `references` are the schemas of names that `schema` uses, each after those that it uses itself.

    Raises `UnusableSchema`.
    """
    compiler = _Compiler()
    try:
        for each in references:
            compiler.compile(msgspec.json.decode(each), "", 0)
        read = compiler.compile(msgspec.json.decode(schema), "", 0)
    except msgspec.DecodeError as error:
        raise UnusableSchema(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise UnusableSchema("it is nested too deeply") from error

    def decode(payload: bytes) -> bytes:
        cursor = _Cursor(payload)
        try:
            value = read(cursor)
            if cursor.at != len(payload):
                raise _malformed(f"{len(payload) - cursor.at} bytes follow the value")
            return msgspec.json.encode(value)
        except RecursionError as error:
            raise _malformed("it is nested too deeply") from error

    return decode


def _malformed(detail: str) -> MalformedEvent:
    return MalformedEvent("not_avro", f"the value does not fit its schema: {detail}")


class _Compiler:
    """Turns schemas into functions; named types may refer to one another."""

    def __init__(self) -> None:
        self._named: dict[str, _Reader] = {}
        self._nodes = 0

    def compile(self, schema: Any, namespace: str, depth: int) -> _Reader:
        """The reader of a schema. Raises `UnusableSchema`."""
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > _MAX_SCHEMA_DEPTH:
            raise UnusableSchema(f"it has more than {MAX_NODES} types, or {_MAX_SCHEMA_DEPTH} levels")
        match schema:
            case str():
                return _PRIMITIVES.get(schema) or self._reference(schema, namespace)
            case list():
                return _union([self.compile(each, namespace, depth + 1) for each in schema])
            case {"type": "record" | "error", "name": str(), "fields": list()}:
                return self._record(schema, namespace, depth)
            case {"type": "enum", "name": str(), "symbols": list(symbols)}:
                return self._name(schema, namespace, _enum([str(each) for each in symbols]))
            case {"type": "fixed", "name": str(), "size": int(size)}:
                return self._name(schema, namespace, _logical(schema, _fixed(size)))
            case {"type": "array", "items": items}:
                return _array(self.compile(items, namespace, depth + 1))
            case {"type": "map", "values": values}:
                return _map(self.compile(values, namespace, depth + 1))
            case {"type": inner}:
                return _logical(schema, self.compile(inner, namespace, depth + 1))
            case _:
                raise UnusableSchema(f"{str(schema)[:80]} is no Avro type")

    def _reference(self, name: str, namespace: str) -> _Reader:
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        reader = self._named.get(full) or self._named.get(name)
        if reader is None:
            raise UnusableSchema(f"the type {name[:200]} is not defined")
        return reader

    def _name(self, schema: Mapping[str, Any], namespace: str, read: _Reader) -> _Reader:
        self._named[_full_name(schema, namespace)] = read
        return read

    def _record(self, schema: Mapping[str, Any], namespace: str, depth: int) -> _Reader:
        fields: list[tuple[str, _Reader]] = []
        size = sum(len(str(each.get("name"))) for each in schema["fields"] if isinstance(each, dict))

        def read(cursor: _Cursor) -> dict[str, Any]:
            cursor.spend()
            cursor.spend_names(size)
            cursor.depth += 1
            if cursor.depth > MAX_DEPTH:
                raise _malformed(f"records are nested more than {MAX_DEPTH} levels deep")
            value = {name: field(cursor) for name, field in fields}
            cursor.depth -= 1
            return value

        self._name(schema, namespace, read)  # its fields may refer to it
        full = _full_name(schema, namespace)
        within = full.rpartition(".")[0]
        for field in schema["fields"]:
            if not isinstance(field, dict) or not isinstance(field.get("name"), str) or "type" not in field:
                raise UnusableSchema(f"a field of {full[:200]} has no name or type")
            fields.append((field["name"], self.compile(field["type"], within, depth + 1)))
        return read


def _full_name(schema: Mapping[str, Any], namespace: str) -> str:
    name = str(schema["name"])
    space = schema.get("namespace", namespace)
    return name if "." in name or not space else f"{space}.{name}"


def _null(cursor: _Cursor) -> None:
    cursor.spend()


def _boolean(cursor: _Cursor) -> bool:
    cursor.spend()
    return cursor.take(1) != b"\0"


def _number(cursor: _Cursor) -> int:
    cursor.spend()
    return cursor.long()


def _bytes(cursor: _Cursor) -> bytes:
    cursor.spend()
    return cursor.take(cursor.long())


def _string(cursor: _Cursor) -> str:
    try:
        return _bytes(cursor).decode()
    except UnicodeDecodeError as error:
        raise _malformed("a text is not UTF-8") from error


def _single(cursor: _Cursor) -> float:
    cursor.spend()
    return float(_float.unpack(cursor.take(4))[0])


def _double_number(cursor: _Cursor) -> float:
    cursor.spend()
    return float(_double.unpack(cursor.take(8))[0])


_PRIMITIVES: dict[str, _Reader] = {
    "null": _null,
    "boolean": _boolean,
    "int": _number,
    "long": _number,
    "float": _single,
    "double": _double_number,
    "bytes": _bytes,
    "string": _string,
}


def _fixed(size: int) -> _Reader:
    def read(cursor: _Cursor) -> bytes:
        cursor.spend()
        return cursor.take(size)

    return read


def _enum(symbols: Sequence[str]) -> _Reader:
    def read(cursor: _Cursor) -> str:
        symbol: str = _chosen(symbols, _number(cursor))
        cursor.spend_names(len(symbol))
        return symbol

    return read


def _union(branches: Sequence[_Reader]) -> _Reader:
    return lambda cursor: _chosen(branches, cursor.long())(cursor)


def _chosen(choices: Sequence[Any], index: int) -> Any:
    if not 0 <= index < len(choices):
        raise _malformed(f"there is no choice {index} of {len(choices)}")
    return choices[index]


def _blocks(cursor: _Cursor, item: Callable[[], None]) -> None:
    """Call `item` for each item of an array or map."""
    while (count := cursor.long()) != 0:
        if count < 0:
            count = -count
            cursor.long()  # the size of the block in bytes
        for _ in range(count):
            cursor.spend()
            item()


def _array(read_item: _Reader) -> _Reader:
    def read(cursor: _Cursor) -> list[Any]:
        items: list[Any] = []
        _blocks(cursor, lambda: items.append(read_item(cursor)))
        return items

    return read


def _map(read_value: _Reader) -> _Reader:
    def read(cursor: _Cursor) -> dict[str, Any]:
        entries: dict[str, Any] = {}

        def entry() -> None:
            name = _string(cursor)
            entries[name] = read_value(cursor)

        _blocks(cursor, entry)
        return entries

    return read


def _logical(schema: Mapping[str, Any], read: _Reader) -> _Reader:
    """The reader of a type with its logical type, if it has one."""
    kind, base = schema.get("logicalType"), schema["type"]
    if kind == "decimal" and base in ("bytes", "fixed"):
        scale = schema.get("scale", 0)
        if not isinstance(scale, int) or not 0 <= scale <= 1000:
            raise UnusableSchema(f"a decimal has the scale {str(scale)[:20]}")
        return lambda cursor: _decimal(read(cursor), scale)
    if kind == "uuid" and base == "fixed" and schema.get("size") == 16:
        return lambda cursor: _uuid(read(cursor))
    if kind == "date" and base == "int":
        return lambda cursor: _date(read(cursor))
    if isinstance(kind, str) and base in ("int", "long"):
        name, _, unit = kind.rpartition("-")
        if unit in _PER_SECOND and name in ("timestamp", "local-timestamp", "time"):
            return lambda cursor: _time(read(cursor), name, unit)
    return read


def _decimal(raw: bytes, scale: int) -> str:
    if len(raw) > _MAX_DECIMAL:
        raise _malformed(f"a decimal has {len(raw)} bytes, more than {_MAX_DECIMAL}")
    unscaled = int.from_bytes(raw, "big", signed=True)
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def _uuid(raw: bytes) -> str:
    return "-".join((raw[:4].hex(), raw[4:6].hex(), raw[6:8].hex(), raw[8:10].hex(), raw[10:].hex()))


def _date(days: int) -> str | int:
    try:
        return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    except OverflowError:
        return days


def _time(number: int, name: str, unit: str) -> str | int:
    seconds, rest = divmod(number, _PER_SECOND[unit])
    fraction = str(rest).rjust(len(str(_PER_SECOND[unit])) - 1, "0")
    try:
        at = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
    except OverflowError:
        return number
    if name == "time":
        return f"{at.time().isoformat()}.{fraction}"
    return f"{at.isoformat()}.{fraction}{'Z' if name == 'timestamp' else ''}"
