"""The part of an event's data that an endpoint gets, as paths of names. Included values keep their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from app.core import limits
from app.core.errors import TransformFailed

#: name → the paths below it; empty: the whole value
FieldTree = dict[str, "FieldTree"]

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])
_TREES = 256


def path_problems(paths: Sequence[str] | None) -> Iterator[str]:
    """All problems of an endpoint's list of paths, if it has one."""
    if paths is None:
        return
    if not paths:
        yield "at least one path, such as customer.email"
    for path in paths:
        names = path.split(".")
        if not all(names):
            yield f"{path[:80]!r} is not a path of names, such as customer.email"
        elif len(names) > limits.INCLUDED_DEPTH:
            yield f"{path[:80]!r} has more than {limits.INCLUDED_DEPTH} names"


def included(data: bytes, paths: tuple[str, ...]) -> bytes:
    """The data with these fields only, in the data's order. Names below an array are those of its objects.

    Data that is neither an object nor an array has no fields: `null` is left. Raises `TransformFailed` for data that
    is nested too deeply.
    """
    try:
        return _cut(data, field_tree(paths)) or b"null"
    except (ValueError, RecursionError) as error:
        raise TransformFailed("the fields of the event's data cannot be read") from error


@lru_cache(_TREES)
def field_tree(paths: tuple[str, ...]) -> FieldTree:
    """The paths as a tree; paths below another path are left out."""
    root: FieldTree = {}
    whole: set[int] = set()
    for path in paths:
        level = root
        for name in path.split("."):
            if id(level) in whole:
                break  # a shorter path includes it
            level = level.setdefault(name, {})
        else:
            level.clear()
            whole.add(id(level))
    return root


def _cut(value: bytes, tree: FieldTree) -> bytes | None:
    """The value with the fields of a tree; None: it has no fields."""
    match value[:1]:
        case b"{":
            parts = []
            for name, raw in _object.decode(value).items():
                below = tree.get(name)
                if below is not None:
                    part = _cut(bytes(raw).strip(), below) if below else bytes(raw)
                    if part is not None:
                        parts.append(msgspec.json.encode(name) + b":" + part)
            return b"{" + b",".join(parts) + b"}"
        case b"[":
            cut = (_cut(bytes(raw).strip(), tree) for raw in _array.decode(value))
            return b"[" + b",".join(each for each in cut if each is not None) + b"]"
        case _:
            return None
