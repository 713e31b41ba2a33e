"""Validate events against the JSON Schemas of their types (2020-12), with a bound on the work before it begins.

- Patterns run on an engine with linear time; a pattern that it does not support makes the schema unusable.
- Data is validated only after core/schemas/cost.py has computed an upper bound of the cost.
- A violation is located only if that is cheap, because the error of a union contains those of all branches.
- Schemas are never fetched for a `$ref`.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import NoReturn

import jsonschema_rs
import orjson

from app.core.model.event_types import EventType
from app.core.schemas.cost import CostBound, TooCostly
from app.core.schemas.graph import BadSchema, Graph
from app.core.schemas.rules import Violation, check

#: compiled schemas in memory, and the bytes of their text and patterns
_CACHE_ENTRIES = 2000
_CACHE_BYTES = 64 * 1024 * 1024
#: bytes of a compiled pattern: the classes by which its cost is estimated, and the maximum
_PATTERN_SIZES = (1_000, 2_500, 5_000, 10_000, 30_000, 100_000, 300_000, 1_048_576)
_LINEAR = jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZES[-1], dfa_size_limit=131_072)
#: units × bytes of data up to which a violation is located; the errors quote the data many times
_LOCATED = 5_000_000
_UNIONS = (b'"anyOf"', b'"oneOf"', b'"not"', b'"if"', b'"unevaluated', b'"propertyNames"')
#: measured maximum units of compiling a schema (60 ms) and of locating a violation (10 ms)
_COMPILING = 2_400_000
_LOCATING = 400_000
#: characters of an error's text
_SHOWN = 500


def schema_problem(schema: str) -> BadSchema | None:
    """The first problem of a schema and its location; None if the schema can be used."""
    try:
        _Compiled(schema)
    except BadSchema as error:
        return error
    return None


class JsonSchemaValidator:
    """`app.ports.stream.SchemaValidator`, with a cache of compiled schemas."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, _Compiled | BadSchema] = OrderedDict()
        self._bytes = 0
        #: units of work so far (core/schemas/cost.py)
        self.spent = 0

    def violation(self, event_type: EventType, data: bytes) -> Violation | None:
        """See `app.ports.stream.SchemaValidator`."""
        if event_type.schema is None:
            return None
        compiled = self._of(event_type.schema)
        if isinstance(compiled, BadSchema):
            return Violation("schema_unusable", f"the schema of its type cannot be used: {compiled}"[:_SHOWN])
        try:
            violation, units = compiled.violation(data)
            self.spent += units
            return violation
        except (jsonschema_rs.ValidationError, ValueError) as failure:  # infinite numbers, deep nesting
            return Violation("schema", f"data: cannot be validated: {_first_line(failure)}")

    def _of(self, schema: str) -> _Compiled | BadSchema:
        compiled = self._compiled.get(schema)
        if compiled is None:
            self.spent += _COMPILING
            try:
                compiled = _Compiled(schema)
            except BadSchema as error:
                compiled = error
            self._compiled[schema] = compiled
            self._bytes += _size(schema, compiled)
            while len(self._compiled) > _CACHE_ENTRIES or (self._bytes > _CACHE_BYTES and len(self._compiled) > 1):
                self._bytes -= _size(*self._compiled.popitem(last=False))
        else:
            self._compiled.move_to_end(schema)
        return compiled


class _Compiled:
    """A compiled schema with its cost bound."""

    def __init__(self, schema: str) -> None:
        """Raises `BadSchema` when the schema cannot be used."""
        try:
            parsed = orjson.loads(schema)
            graph = Graph(parsed)
            sizes = check(graph, _pattern_bytes)
            self._validator = jsonschema_rs.Draft202012Validator(parsed, retriever=_refuse, pattern_options=_LINEAR)
        except jsonschema_rs.ValidationError as error:
            raise BadSchema(_pointer(error.instance_path), _first_line(error)) from error
        except (jsonschema_rs.ReferencingError, ValueError) as error:
            raise BadSchema("", _first_line(error)) from error
        except RecursionError as error:
            raise BadSchema("", "nested too deeply") from error
        self._cost = CostBound(graph, sizes)
        self._simple = not any(word in schema.encode() for word in _UNIONS)
        self.bytes = 20 * len(schema) + sum(sizes.values())

    def violation(self, data: bytes) -> tuple[Violation | None, int]:
        """The violation, and an upper bound of the units spent. Raises the validator's exceptions."""
        value = orjson.loads(data)
        try:
            units = self._cost.check(data, value)
        except TooCostly as error:
            words = f"validating its {len(data)} bytes could cost too much work"
            return Violation("schema_too_costly", words), error.units
        if self._validator.is_valid(value):
            return None, units
        if not self._simple and units * len(data) > _LOCATED:
            words = "data: it does not satisfy the schema; locating the violation would cost too much"
            return Violation("schema", words), units
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            words = f"data{_pointer(error.instance_path)}: {error.message}"[:_SHOWN]
            return Violation("schema", words), 2 * units + _LOCATING
        return None, units


def _size(schema: str, compiled: _Compiled | BadSchema) -> int:
    return compiled.bytes if isinstance(compiled, _Compiled) else len(schema)


@lru_cache(4096)
def _pattern_bytes(pattern: str) -> int | None:
    """The smallest size class of a compiled pattern; None: it is too large, or the engine does not support it."""
    for size in _PATTERN_SIZES:
        options = jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=_PATTERN_SIZES[-1])
        try:
            jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options)
        except (jsonschema_rs.ValidationError, ValueError):
            continue
        return size
    return None


def _pointer(path: list[str | int]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "message", error))
    return text.splitlines()[0][:_SHOWN] if text else type(error).__name__


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri}: a schema may refer only to itself")
