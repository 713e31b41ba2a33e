"""JMESPath with bounds: an evaluation ends after so many steps, and no value of it becomes too large.

The library's interpreter has neither. Without a reference to the root, JMESPath cannot loop over a product of two
lists, but a few characters suffice for values that double with each pipe (`[@, @] | [@, @] | …`): small in memory,
because the parts are shared, and exponential for everything that walks through them. Therefore

- each visit of a node costs a step, and each operation that walks through a list or text costs steps by its length,
  before it begins;
- what walks through whole values (`==`, `contains`, `to_string`, the encoder of the result) measures them first. Each
  list and object is measured once, so that shared parts cost nothing.
"""

from __future__ import annotations

import math
from typing import Any

from jmespath.exceptions import JMESPathTypeError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from app.core import limits
from app.core.errors import TransformFailed

_Node = dict[str, Any]

#: entries of a list, and characters of a text, that cost as much time as a visit of a node
_ENTRIES, _CHARACTERS = 4, 512
#: functions that walk through everything in their arguments
_DEEP = frozenset(("contains", "to_string"))
_functions = Functions()


class BoundedInterpreter(TreeInterpreter):
    """Evaluates one expression once."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = limits.TRANSFORM_STEPS
        #: id of a list or object → that object, so that the id stays its own, and its size
        self._sizes: dict[int, tuple[Any, int]] = {}

    def visit(self, node: _Node, *args: Any, **kwargs: Any) -> Any:
        """The value of a node."""
        self._steps -= 1
        if self._steps < 0:
            raise TransformFailed(f"it takes more than {limits.TRANSFORM_STEPS} steps for this event")
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: _Node, value: Any) -> Any:
        """A list whose elements that are lists are merged into it."""
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._charge(sum(len(each) if isinstance(each, list) else 1 for each in base))
        merged = []
        for each in base:
            if isinstance(each, list):
                merged.extend(each)
            else:
                merged.append(each)
        return merged

    def visit_slice(self, node: _Node, value: Any) -> Any:
        """A part of a list."""
        if isinstance(value, list):
            self._charge(len(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: _Node, value: Any) -> Any:
        """The result of a comparison; null: the values cannot be compared."""
        left, right = (self.visit(child, value) for child in node["children"])
        if node["value"] in self._EQUALITY_OPS:
            self._charge_text(min(self.size(left), self.size(right)))
        elif isinstance(left, str) != isinstance(right, str):
            return None  # the library would let Python compare a text with a number
        elif isinstance(left, str):
            self._charge_text(min(len(left), len(right)))
        literals = [{"type": "literal", "value": each, "children": []} for each in (left, right)]
        return super().visit_comparator({**node, "children": literals}, value)

    def visit_function_expression(self, node: _Node, value: Any) -> Any:
        """The result of a function."""
        name = node["value"]
        arguments = [self.visit(child, value) for child in node["children"]]
        for each in arguments:
            if name in _DEEP:
                self._charge_text(self.size(each))
            elif isinstance(each, list | dict):
                self._charge(len(each))
            elif isinstance(each, str):
                self._charge_text(len(each))
        if name == "join":
            self._charge_join(*arguments)
        try:
            return _functions.call_function(name, arguments)
        except JMESPathTypeError as error:  # its text would quote the value
            wanted = " or ".join(error.expected_types)
            detail = f"{name}() takes {wanted}, and the event has {error.actual_type} there"
            raise TransformFailed(detail) from None

    def size(self, value: Any) -> int:
        """About how many characters of JSON a value has; raises `TransformFailed` if it is too large, or no JSON."""
        if isinstance(value, str):
            return len(value) + 2
        if isinstance(value, float) and not math.isfinite(value):
            raise TransformFailed("a number of the result is not finite")
        if not isinstance(value, list | dict):
            return 8
        measured = self._sizes.get(id(value))
        if measured is None:
            self._charge(len(value))
            size = 2
            parts = value if isinstance(value, list) else value.values()
            if isinstance(value, dict):
                size += sum(map(len, value)) + 3 * len(value)
            for each in parts:
                size += self.size(each) + 1
                if size > limits.TRANSFORM_BYTES:
                    raise TransformFailed(f"a value of it has more than {limits.TRANSFORM_BYTES} bytes")
            measured = self._sizes[id(value)] = value, size
        return measured[1]

    def _charge_join(self, separator: Any, texts: Any) -> None:
        if isinstance(separator, str) and isinstance(texts, list):
            size = len(separator) * len(texts) + sum(len(each) for each in texts if isinstance(each, str))
            if size > limits.TRANSFORM_BYTES:
                raise TransformFailed(f"a value of it has more than {limits.TRANSFORM_BYTES} bytes")
            self._charge_text(size)

    def _charge(self, entries: int) -> None:
        self._steps -= entries // _ENTRIES
        if self._steps < 0:
            raise TransformFailed(f"it takes more than {limits.TRANSFORM_STEPS} steps for this event")

    def _charge_text(self, characters: int) -> None:
        self._charge(characters * _ENTRIES // _CHARACTERS)
