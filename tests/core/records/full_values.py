"""Values of the records' types in which every field is set."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec


def full(hint: Any, name: str = "x") -> Any:
    """A value of a type in which every field is set, so that a changed field is noticed."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return full(arguments[0], name)
    if origin is Literal:
        return arguments[-1]  # the first one is often the default, which is left out
    if origin in (Union, types.UnionType):
        return full(next(each for each in arguments if each is not type(None)), name)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return (full(arguments[0], name),)
        return tuple(full(each, name) for each in arguments)
    if origin is list:
        return [full(arguments[0], name)]
    if origin is dict:
        return {full(arguments[0], "name"): full(arguments[1], name)}
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = get_type_hints(hint, include_extras=True)
        return hint(**{each: full(hints[each], each) for each in hint.__struct_fields__})
    return _PLAIN[hint](name)


TEXTS = {
    "url": "https://receiver.example/hooks",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "created_at": "2026-01-02T03:04:05.678Z",
    "at": "2026-01-02T03:04:05.678Z",
    "started_at": "2026-01-02T03:04:05.678Z",
    "source": "3:17",
    "sealed": "0123456789ab",
    "event_type": "order.paid",
    "events": "order.*",
    "profile": "standard",
}
_PLAIN: dict[Any, Callable[[str], Any]] = {
    str: lambda name: TEXTS.get(name, f"{name} é"),
    int: lambda name: 1_767_323_045_678 if name.endswith("_ms") else 7,
    float: lambda name: 1.5,
    bool: lambda name: True,
    bytes: lambda name: b'{"type":"order.paid","data":{"n":1}}',
    Any: lambda name: "any",
    object: lambda name: "any",
}
