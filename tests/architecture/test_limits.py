"""Every field that the API takes has a limit in its type, so that none can be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from app.api.server.routes import ROUTES

#: bounded by the rules of events, schemas or filters, and with them by the size of a request
ELSEWHERE = {
    "EventIn.data",
    "EventIn.metadata",
    "TestIn.data",
    "EventTypeIn.schema",
    "EventTypeIn.example",
    "EventTypesImportIn.document",
    "FilterTestIn.event",
    "FilterTestIn.filter",
    "PreviewIn.event",
    "WebhookIn.filter",
    "WebhookPatch.filter",
}
TAKEN = sorted({route.name: route.takes for route in ROUTES if route.takes is not None}.items())


def unbounded(kind: inspect.Type, place: str) -> Iterator[str]:
    """The fields below that may be of any size."""
    match kind:
        case inspect.Metadata(type=inner):
            yield from unbounded(inner, place)
        case inspect.StructType(fields=fields, cls=cls):
            for field in fields:
                yield from unbounded(field.type, f"{cls.__name__}.{field.encode_name}")
        case inspect.UnionType(types=types):
            for each in types:
                yield from unbounded(each, place)
        case inspect.StrType(max_length=None, pattern=None):
            yield place
        case (
            inspect.IntType(ge=low, gt=above, le=high, lt=below)
            | inspect.FloatType(ge=low, gt=above, le=high, lt=below)
        ):
            if (low is None and above is None) or (high is None and below is None):
                yield place
        case (
            inspect.ListType(item_type=item, max_length=longest)
            | inspect.VarTupleType(item_type=item, max_length=longest)
        ):
            yield from unbounded(item, place)
            if longest is None and not place.startswith("/"):
                yield place
        case inspect.DictType(key_type=key, value_type=value, max_length=longest):
            yield from unbounded(key, place)
            yield from unbounded(value, place)
            if longest is None:
                yield place
        case inspect.RawType() | inspect.AnyType():
            yield place
        case inspect.StrType() | inspect.LiteralType() | inspect.NoneType() | inspect.BoolType():
            return
        case _:
            raise TypeError(f"{place}: {kind} is new here")


@pytest.mark.parametrize(("name", "taken"), TAKEN)
def test_every_field_of_a_request_has_a_limit(name: str, taken: Any) -> None:
    found = set(unbounded(inspect.type_info(taken), f"/{name}")) - ELSEWHERE
    assert not found, "give the field a limit of app/core/limits.py"


def test_the_test_detects_fields_without_a_limit() -> None:
    class Wide(msgspec.Struct):
        text: str
        number: int
        labels: dict[str, str]

    assert set(unbounded(inspect.type_info(Wide), "")) == {"Wide.text", "Wide.number", "Wide.labels"}
