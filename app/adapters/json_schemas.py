"""Judge events by the JSON Schemas of their types (2020-12). Nothing is ever fetched for a `$ref`."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NoReturn

import jsonschema_rs
import orjson

from app.core.model import EventType

#: compiled schemas kept
_KEPT = 2000
#: evaluations that one look at a value may cost; a schema of a kilobyte can ask for billions
_MAX_COST = 10_000


def schema_problem(schema: str) -> str | None:
    """What is wrong with a schema, in one sentence; None: nothing."""
    try:
        parsed = orjson.loads(schema)
        problem = _Cost(parsed).problem()
        if problem is None:
            _compile(schema)
        return problem
    except (jsonschema_rs.ValidationError, ValueError) as error:
        return str(getattr(error, "message", error)).splitlines()[0]
    except RecursionError:
        return "nested too deeply"


class JsonSchemas:
    """`app.ports.streams.SchemaJudge`, with a memory of compiled schemas."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Any] = OrderedDict()

    def violation(self, event_type: EventType, data: bytes) -> str | None:
        """Where and how `data` breaks the type's schema, or that it cannot be judged; None: it does not break it."""
        if event_type.schema is None:
            return None
        try:
            error = next(iter(self._validator(event_type.schema).iter_errors(orjson.loads(data))), None)
        except (jsonschema_rs.ValidationError, ValueError) as failure:  # infinite numbers, depths that only we bear
            return f"data: cannot be judged by its schema: {str(failure).splitlines()[0]}"
        if error is None:
            return None
        pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in error.instance_path)
        return f"data{pointer}: {error.message}"

    def _validator(self, schema: str) -> Any:
        if schema not in self._compiled:
            self._compiled[schema] = _compile(schema)
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return self._compiled[schema]


class _Cost:
    """Counts how often a schema could be evaluated for one value, through its references."""

    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._known: dict[str, int] = {}
        self._strange: str | None = None

    def problem(self) -> str | None:
        """What speaks against it."""
        cost = self._of(self._root)
        if self._strange is not None:
            return f"{self._strange}: a reference is `#` or begins with `#/`"
        return f"it could cost {cost} evaluations for one value; the limit is {_MAX_COST}" if cost > _MAX_COST else None

    def _of(self, schema: Any) -> int:
        if isinstance(schema, list):
            return sum(self._of(each) for each in schema)
        if not isinstance(schema, dict):
            return 1
        if "$dynamicRef" in schema or "$recursiveRef" in schema:
            self._strange = "$dynamicRef"
        return 1 + sum(self._referred(value) if name == "$ref" else self._of(value) for name, value in schema.items())

    def _referred(self, target: Any) -> int:
        if not isinstance(target, str) or not (target == "#" or target.startswith("#/")):
            self._strange = str(target)[:100]
            return 1
        if target not in self._known:
            self._known[target] = 1  # a schema that refers to itself goes down the value with each round
            self._known[target] = self._of(self._at(target))
        return self._known[target]

    def _at(self, target: str) -> Any:
        found = self._root
        for step in target[2:].split("/") if len(target) > 2 else ():
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                raise ValueError(f"{target} leads nowhere")
        return found


def _compile(schema: str) -> Any:
    return jsonschema_rs.Draft202012Validator(orjson.loads(schema), retriever=_refuse)


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri}: a schema may refer only to itself")
