"""The conditions of a filter, and how each one judges a value of an event.

Rules of this file
- No value of an event raises an error. Values of different types are never equal, and none is greater than the other.
- A comparison of an array is true if it is true of an element. `$neq` and `$nin` are true if no element is equal.
- Named fields of an array are those of one of its elements, which meets all conditions on them.
- A comparison of an absent field is false; `$exist: false` is true of it.
- The cost is linear: one evaluation compares each value of the event at most once with each condition, and examines at
  most `FILTER_ELEMENTS` array elements.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from app.core.limits import FILTER_ELEMENTS

Scalar = str | int | float | bool | None

#: the value of a field that an event does not have
MISSING: Final = object()
#: characters of a value that an explanation quotes
_QUOTED = 80


class TooManyElements(Exception):
    """An evaluation would examine more than `FILTER_ELEMENTS` array elements."""


class ElementCount:
    """The array elements that one evaluation has examined."""

    __slots__ = ("examined",)

    def __init__(self) -> None:
        self.examined = 0

    def add(self, number: int) -> None:
        """Count elements before they are examined. Raises `TooManyElements`."""
        self.examined += number
        if self.examined > FILTER_ELEMENTS:
            raise TooManyElements


class FailedCondition(msgspec.Struct, frozen=True, kw_only=True):
    """The first condition that an event does not meet."""

    #: JSON Pointer of the condition in the filter
    pointer: str
    #: one sentence with the field's name and the event's value
    explanation: str


class FilterCondition(ABC):
    """A condition on one value of an event."""

    __slots__ = ("pointer",)

    def __init__(self, pointer: str) -> None:
        """`pointer` is the JSON Pointer of the condition in its filter."""
        self.pointer = pointer

    @abstractmethod
    def matches(self, value: Any, count: ElementCount) -> bool:
        """Whether the value meets the condition. Raises `TooManyElements`."""

    def failure(self, value: Any, path: str, count: ElementCount) -> FailedCondition:
        """The first condition in it that the value, which is at `path` of the event, does not meet."""
        return FailedCondition(pointer=self.pointer, explanation=self.explanation(value, path))

    def explanation(self, value: Any, path: str) -> str:
        """Why the value at `path` does not meet the condition."""
        return f"{path or 'the event'} does not match"


class Comparison(FilterCondition):
    """A value, or an element of an array, passes a test."""

    __slots__ = ("_test", "_wanted")

    def __init__(self, pointer: str, test: Callable[[Any], bool], wanted: str) -> None:
        """`wanted` describes values that pass."""
        super().__init__(pointer)
        self._test = test
        self._wanted = wanted

    def matches(self, value: Any, count: ElementCount) -> bool:
        """See `FilterCondition`."""
        if type(value) is list:
            count.add(len(value))
            return any(map(self._test, value))
        return value is not MISSING and self._test(value)

    def explanation(self, value: Any, path: str) -> str:
        """See `FilterCondition`."""
        if type(value) is list:
            return f"no element of {path} is {self._wanted}"
        return f"{path} is {quoted(value)}, and not {self._wanted}"


class NoneEqual(Comparison):
    """Neither a value nor an element of an array passes the test."""

    __slots__ = ()

    def matches(self, value: Any, count: ElementCount) -> bool:
        """See `FilterCondition`."""
        return value is not MISSING and not super().matches(value, count)

    def explanation(self, value: Any, path: str) -> str:
        """See `FilterCondition`."""
        return f"{path} is absent" if value is MISSING else f"{path} is {self._wanted}"


class Existence(FilterCondition):
    """A field exists, whatever its value is, or does not."""

    __slots__ = ("_exists",)

    def __init__(self, pointer: str, *, exists: bool) -> None:
        super().__init__(pointer)
        self._exists = exists

    def matches(self, value: Any, count: ElementCount) -> bool:
        """See `FilterCondition`."""
        return (value is not MISSING) is self._exists

    def explanation(self, value: Any, path: str) -> str:
        """See `FilterCondition`."""
        return f"{path} is absent" if self._exists else f"{path} exists"


class Fields(FilterCondition):
    """Fields of an object, or of one element of an array, meet their conditions."""

    __slots__ = ("_fields",)

    def __init__(self, pointer: str, fields: Mapping[str, FilterCondition]) -> None:
        super().__init__(pointer)
        self._fields = tuple(fields.items())

    def matches(self, value: Any, count: ElementCount) -> bool:
        """See `FilterCondition`."""
        if type(value) is list:
            count.add(len(value))
            return any(self._has_all(each, count) for each in value if type(each) is dict)
        return self._has_all(value if type(value) is dict else {}, count)

    def _has_all(self, fields: Mapping[str, Any], count: ElementCount) -> bool:
        for name, condition in self._fields:  # noqa: SIM110 - a generator costs as much as the conditions
            if not condition.matches(fields.get(name, MISSING), count):
                return False
        return True

    def failure(self, value: Any, path: str, count: ElementCount) -> FailedCondition:
        """See `FilterCondition`."""
        if type(value) is list:
            explanation = f"no element of {path} meets all conditions on its fields"
            return FailedCondition(pointer=self.pointer, explanation=explanation)
        fields = value if type(value) is dict else {}
        for name, condition in self._fields:
            if not condition.matches(fields.get(name, MISSING), count):
                return condition.failure(fields.get(name, MISSING), f"{path}.{name}" if path else name, count)
        return super().failure(value, path, count)


class AllOf(FilterCondition):
    """All conditions are met."""

    __slots__ = ("_conditions",)

    def __init__(self, pointer: str, conditions: Sequence[FilterCondition]) -> None:
        super().__init__(pointer)
        self._conditions = tuple(conditions)

    def matches(self, value: Any, count: ElementCount) -> bool:
        """See `FilterCondition`."""
        return all(each.matches(value, count) for each in self._conditions)

    def failure(self, value: Any, path: str, count: ElementCount) -> FailedCondition:
        """See `FilterCondition`."""
        for each in self._conditions:
            if not each.matches(value, count):
                return each.failure(value, path, count)
        return super().failure(value, path, count)


class AnyOf(FilterCondition):
    """At least one condition is met."""

    __slots__ = ("_conditions",)

    def __init__(self, pointer: str, conditions: Sequence[FilterCondition]) -> None:
        super().__init__(pointer)
        self._conditions = tuple(conditions)

    def matches(self, value: Any, count: ElementCount) -> bool:
        """See `FilterCondition`."""
        return any(each.matches(value, count) for each in self._conditions)

    def explanation(self, value: Any, path: str) -> str:
        """See `FilterCondition`."""
        return f"{path or 'the event'} meets none of the {len(self._conditions)} conditions of $or"


class Negation(FilterCondition):
    """A condition is not met."""

    __slots__ = ("_condition",)

    def __init__(self, pointer: str, condition: FilterCondition) -> None:
        super().__init__(pointer)
        self._condition = condition

    def matches(self, value: Any, count: ElementCount) -> bool:
        """See `FilterCondition`."""
        return not self._condition.matches(value, count)

    def explanation(self, value: Any, path: str) -> str:
        """See `FilterCondition`."""
        return f"{path or 'the event'} meets the condition of $not"


def quoted(value: Any) -> str:
    """A value as JSON, clipped; an object or array by its kind alone."""
    if value is MISSING:
        return "absent"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return str(msgspec.json.encode(value[:_QUOTED] + "…" if len(value) > _QUOTED else value), "utf-8")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)[:_QUOTED]


def equal(operand: Scalar) -> Callable[[Any], bool]:
    """Test whether a value is the operand: `1` is `1.0`, and not `true`."""
    if operand is None or isinstance(operand, bool):
        return lambda value: value is operand
    if isinstance(operand, str):
        return lambda value: value == operand
    return lambda value: type(value) is not bool and value == operand


def among(operands: Sequence[Scalar]) -> Callable[[Any], bool]:
    """Test whether a value is one of the operands."""
    flags = [each for each in operands if isinstance(each, bool)]
    others = frozenset(each for each in operands if not isinstance(each, bool))
    hashable = (str, int, float, type(None))
    return lambda value: value in flags if type(value) is bool else type(value) in hashable and value in others


def ordered(name: str, operand: str | float) -> Callable[[Any], bool]:
    """Test a value of the operand's type with `$gt`, `$gte`, `$lt` or `$lte`."""
    compare: Callable[[Any, Any], bool] = {
        "$gt": operator.gt,
        "$gte": operator.ge,
        "$lt": operator.lt,
        "$lte": operator.le,
    }[name]
    types = (str,) if isinstance(operand, str) else (int, float)
    return lambda value: type(value) in types and compare(value, operand)


def begins(operand: str) -> Callable[[Any], bool]:
    """Test whether a text begins with the operand."""
    return lambda value: type(value) is str and value.startswith(operand)


def ends(operand: str) -> Callable[[Any], bool]:
    """Test whether a text ends with the operand."""
    return lambda value: type(value) is str and value.endswith(operand)
