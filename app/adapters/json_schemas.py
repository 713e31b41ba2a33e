"""Judge events by the JSON Schemas of their types (2020-12). Nothing is ever fetched for a `$ref`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NoReturn

import jsonschema_rs
import orjson

from app.core.model import EventType

#: compiled schemas kept
_KEPT = 2000


def schema_problem(schema: str) -> str | None:
    """What is wrong with a schema, in one sentence; None: nothing."""
    try:
        _compile(schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        return str(getattr(error, "message", error)).splitlines()[0]
    return None


class JsonSchemas:
    """`app.ports.streams.SchemaJudge`, with a memory of compiled schemas."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[tuple[str, str, int], Any] = OrderedDict()

    def violation(self, event_type: EventType, data: bytes) -> str | None:
        """Where and how `data` breaks the type's schema; None: it does not, or there is none."""
        validator = self._validator(event_type)
        if validator is None:
            return None
        error = next(iter(validator.iter_errors(orjson.loads(data))), None)
        if error is None:
            return None
        pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in error.instance_path)
        return f"data{pointer}: {error.message}"

    def _validator(self, event_type: EventType) -> Any:
        if event_type.schema is None:
            return None
        key = (event_type.tenant, event_type.name, event_type.version)
        if key not in self._compiled:
            self._compiled[key] = _compile(event_type.schema)
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return self._compiled[key]


def _compile(schema: str) -> Any:
    return jsonschema_rs.Draft202012Validator(orjson.loads(schema), retriever=_refuse)


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri}: a schema may refer only to itself")
