"""Hide values in the data of events: the paths are those of `included_fields.py`.

Rules of this file
- What cannot be read is hidden as a whole: nothing of it is shown by mistake.
- A value nested deeper than `_DEPTH` is hidden, so the cost is that many readings of the data at most.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

import msgspec

from app.core.transforms.included_fields import FieldTree, field_tree

HIDDEN = "[redacted]"
_HIDDEN = b'"[redacted]"'
#: levels of objects and arrays above a hidden value; paths have fewer names
_DEPTH = 32

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])


def redacted(data: bytes, paths: Sequence[str]) -> bytes:
    """The data with the values at these paths hidden; other values keep their bytes. Names below an array are those of
    its objects, and a path that the data does not have hides nothing.
    """
    if not paths:
        return data
    data = data.strip()
    try:
        if data[:1] not in (b"{", b"["):
            msgspec.json.decode(data)
        return _hide(data, field_tree(tuple(paths)), _DEPTH)
    except (ValueError, RecursionError):
        return _HIDDEN


def redacted_body(body: bytes, kind: str, paths: Sequence[str]) -> bytes:
    """The value of an event's record, with the same hidden in its data; `kind` is the event's format."""
    if not paths:
        return body
    if kind == "ce-binary":
        return redacted(body, paths) if body else body
    try:
        fields = _object.decode(body)
        if "data" in fields:
            fields["data"] = msgspec.Raw(redacted(bytes(fields["data"]), paths))
        if kind == "ce-structured" and "data_base64" in fields:
            packed = msgspec.json.decode(fields["data_base64"], type=str | None)
            if packed is not None:
                hidden = b64encode(redacted(b64decode(packed), paths)).decode()
                fields["data_base64"] = msgspec.Raw(msgspec.json.encode(hidden))
    except (ValueError, RecursionError):
        return msgspec.json.encode({"data": HIDDEN})
    return msgspec.json.encode(fields)


def _hide(value: bytes, tree: FieldTree, depth: int) -> bytes:
    begin = value[:1]
    if begin not in (b"{", b"["):
        return value
    if depth == 0:
        return _HIDDEN
    if begin == b"[":
        return b"[" + b",".join(_hide(bytes(raw).strip(), tree, depth - 1) for raw in _array.decode(value)) + b"]"
    parts = []
    for name, raw in _object.decode(value).items():
        below = tree.get(name)
        if below is None:
            shown = bytes(raw)
        elif below:
            shown = _hide(bytes(raw).strip(), below, depth - 1)
        else:
            shown = _HIDDEN
        parts.append(msgspec.json.encode(name) + b":" + shown)
    return b"{" + b",".join(parts) + b"}"
