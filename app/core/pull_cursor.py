"""Cursors of a pull endpoint's log: a partition of deliveries.pull, and the offset of the next record to read.

A cursor is no secret and no permission. It names its endpoint, so that one of another endpoint is noticed.
"""

from __future__ import annotations

import base64
import binascii
import struct
from hashlib import blake2b

from msgspec import Struct

#: a version, a digest of the endpoint's id, partition, offset
_FORM = struct.Struct(">B6sIQ")
_VERSION = 1
_LENGTH = -(-_FORM.size * 4 // 3)
#: of an offset: Kafka's are signed
_MOST = (1 << 63) - 1


class BadCursor(ValueError):
    """The text is no cursor of the endpoint."""


class LogPosition(Struct, frozen=True):
    """A partition, and the offset of the next record in it."""

    partition: int
    offset: int


def cursor_text(endpoint_id: str, position: LogPosition) -> str:
    """The cursor of a position."""
    packed = _FORM.pack(_VERSION, _digest(endpoint_id), position.partition, position.offset)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(endpoint_id: str, text: str) -> LogPosition:
    """The position of a cursor. Raises `BadCursor`."""
    if len(text) != _LENGTH:
        raise BadCursor("it is no cursor of this API")
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, digest, partition, offset = _FORM.unpack(packed)
    except (ValueError, binascii.Error, struct.error) as error:
        raise BadCursor("it is no cursor of this API") from error
    if version != _VERSION or offset > _MOST:
        raise BadCursor("it is no cursor of this API")
    if digest != _digest(endpoint_id):
        raise BadCursor("it belongs to another endpoint")
    return LogPosition(partition, offset)


def _digest(endpoint_id: str) -> bytes:
    return blake2b(endpoint_id.encode(), digest_size=6).digest()
