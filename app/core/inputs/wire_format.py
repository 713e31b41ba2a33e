"""Confluent's wire format: a zero byte, the id of a schema in four bytes, and the value that it describes."""

from __future__ import annotations

from collections.abc import Callable

from app.core.errors import MalformedEvent

#: a value without its prefix → JSON; raises `MalformedEvent`
Decode = Callable[[bytes], bytes]
_PREFIX = 5


def schema_id(data: bytes | None) -> int | None:
    """The id of the schema that data name; None if they are not in the wire format."""
    if data is None or len(data) < _PREFIX or data[0] != 0:
        return None
    return int.from_bytes(data[1:_PREFIX], "big")


def decoded(data: bytes, decoder: Callable[[int], Decode], what: str, max_bytes: int) -> bytes:
    """The JSON of data in the wire format. Raises `MalformedEvent`."""
    if len(data) > max_bytes:
        raise MalformedEvent("too_large", f"the {what} has {len(data)} bytes; the limit is {max_bytes}")
    number = schema_id(data)
    if number is None:
        raise MalformedEvent("not_confluent", f"the {what} does not begin with a zero byte and the id of a schema")
    return decoder(number)(data[_PREFIX:])


def refusing(reason: str, detail: str) -> Decode:
    """A function that refuses every value of a schema that cannot be used."""

    def refuse(_payload: bytes) -> bytes:
        raise MalformedEvent(reason, detail)

    return refuse
