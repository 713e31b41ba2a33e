"""An API that answers every operation with the longest values that its types allow, at least two entries in a list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

from msgspec import inspect

from app.api.server.routes import ROUTES, Route
from app.core.model import ids

ENDPOINT = ids.endpoint_id("acme", "live", "k")
DELIVERY = ids.delivery_id("acme", "e", ENDPOINT)
EVENT = ids.event_id("events.raw", 3, 12345)
UUID = "0198f3c2-6d1e-7c3a-9f00-1234567890ab"
TENANT = "a-tenant-whose-id-has-forty-eight-characters-001"
TIME = "2026-11-27T14:45:01.123Z"
TYPE = "identity.verification.session.requires_input"
URL = "https://hooks.customer-with-a-long-name.example.com/integrations/hookstream/v2/receive?team=42"
LONG = "a sentence of some length about the reason of a failure, " * 4
#: text by the name of its field
TEXTS = {
    "id": DELIVERY,
    "endpoint": ENDPOINT,
    "event_id": EVENT,
    "tenant": TENANT,
    "type": TYPE,
    "event_type": TYPE,
    "name": TYPE,
    "url": URL,
    "as_of": TIME,
    "hour": TIME,
}


def longest(type_: Any, name: str = "") -> Any:
    """A JSON value of a type of the contract; `name` is the field that has it."""
    return _value(inspect.type_info(type_) if not isinstance(type_, inspect.Type) else type_, name)


def _value(type_: inspect.Type, name: str) -> Any:
    match type_:
        case inspect.UnionType(types=types):
            values = [_value(each, name) for each in types if not isinstance(each, inspect.NoneType)]
            return max(values, key=lambda each: len(each) if isinstance(each, dict) else 0)
        case inspect.Metadata(type=inner):
            return _value(inner, name)
        case inspect.StructType(fields=fields, tag_field=tag_field, tag=tag):
            tagged = {} if tag_field is None else {tag_field: tag}
            return tagged | {each.encode_name: _value(each.type, each.encode_name) for each in fields}
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [_value(item, name)] * 2
        case inspect.TupleType(item_types=items):
            return [_value(each, name) for each in items]
        case inspect.DictType(value_type=value):
            return {ENDPOINT: _value(value, name), UUID: _value(value, name)}
        case inspect.LiteralType(values=values):
            return max(values, key=lambda each: len(str(each)))
        case inspect.EnumType(cls=cls):
            return max((each.value for each in cls), key=lambda each: len(str(each)))
        case inspect.BoolType():
            return True
        case inspect.IntType(le=most):
            return 1_234_567 if most is None else most
        case inspect.FloatType(le=most):
            return 1234.5 if most is None else most
        case inspect.StrType(max_length=most):
            return TIME if name.endswith("_at") else TEXTS.get(name, LONG.strip())[:most]
        case inspect.AnyType() | inspect.RawType():
            return {"n": 1.5, "text": LONG.strip(), "none": None}
        case _:
            raise TypeError(f"{name}: {type_}")


class LongApi:
    """`app.adapters.http.api_client.ApiClient` without a service."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.given: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self, *path: str, query: Mapping[str, str] | None = None) -> Any:
        return answer("GET", path)

    async def all(self, *path: str, query: Mapping[str, str] | None = None) -> list[Any]:
        entries: list[Any] = answer("GET", path)["data"]
        return entries

    async def post(self, *path: str, body: Any = None) -> Any:
        return answer("POST", path)

    async def put(self, *path: str, body: Any, expect_version: int | None = None) -> Any:
        return answer("PUT", path)

    async def patch(self, *path: str, body: Any, expect_version: int | None = None) -> Any:
        return answer("PATCH", path)

    async def delete(self, *path: str) -> None:
        answer("DELETE", path)


def answer(method: str, path: tuple[str, ...]) -> Any:
    """What the operation of that path answers."""
    route = _route(method, "/".join(["/v1", *path]))
    if route.gives is None:
        return None
    if route.of is not None:
        return {"data": [longest(route.of)] * 2, "next_cursor": None}
    return longest(route.gives)


def _route(method: str, path: str) -> Route:
    def is_meant(route: Route) -> bool:
        return route.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), path) is not None

    # a literal segment takes precedence over a parameter
    return min(filter(is_meant, ROUTES), key=lambda route: route.path.count("{"))
