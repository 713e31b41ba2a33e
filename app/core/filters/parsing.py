"""A filter as JSON → its conditions, or every problem in it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeGuard

import msgspec

from app.core import limits
from app.core.filters.conditions import (
    AllOf,
    AnyOf,
    Comparison,
    Existence,
    Fields,
    FilterCondition,
    Negation,
    NoneEqual,
    Scalar,
    among,
    begins,
    ends,
    equal,
    ordered,
    quoted,
)

#: the fields of an event that a filter may name
EVENT_FIELDS = ("id", "type", "created_at", "ordering_key", "metadata", "data")
OPERATORS = (
    "$eq",
    "$neq",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$startsWith",
    "$endsWith",
    "$exist",
    "$or",
    "$and",
    "$not",
)
_MOST_PROBLEMS = 20
_LEAST, _GREATEST = -(2**63), 2**64 - 1
_ORDERED = {"$gt": "greater than", "$gte": "at least", "$lt": "less than", "$lte": "at most"}
_TEXTS: Mapping[str, tuple[Callable[[str], Callable[[Any], bool]], str]] = {
    "$startsWith": (begins, "a text that begins with"),
    "$endsWith": (ends, "a text that ends with"),
}


class FilterProblem(NamedTuple):
    """A fault of a filter."""

    #: JSON Pointer into the filter
    pointer: str
    sentence: str


class ParsedFilter(msgspec.Struct, frozen=True):
    """The conditions of a filter; None if it has problems."""

    root: FilterCondition | None
    problems: list[FilterProblem]
    #: its comparisons
    size: int


def parse(filter_: Mapping[str, Any]) -> ParsedFilter:
    """Parse a filter, which is decoded JSON. It reports 20 problems at most."""
    parser = _Parser()
    root = parser.object(filter_, "", 1, is_event=True)
    if not parser.problems:
        size = len(msgspec.json.encode(filter_))
        if size > limits.FILTER_BYTES:
            parser.report("", f"has {size} bytes of JSON, at most {limits.FILTER_BYTES} are allowed")
    return ParsedFilter(None if parser.problems else root, parser.problems, parser.size)


def filter_problems(filter_: Mapping[str, Any] | None) -> Iterator[str]:
    """A sentence for each problem of the setting `filter`, which begins with the problem's JSON Pointer into it."""
    if filter_ is not None:
        for problem in parse(filter_).problems:
            yield f"{problem.pointer}: {problem.sentence}" if problem.pointer else problem.sentence


class _Parser:
    def __init__(self) -> None:
        self.problems: list[FilterProblem] = []
        self.size = 0

    def report(self, pointer: str, sentence: str) -> None:
        """Add a problem."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(FilterProblem(pointer, sentence))

    @property
    def _ended(self) -> bool:
        return len(self.problems) >= _MOST_PROBLEMS or self.size > limits.FILTER_CONDITIONS

    def value(self, value: Any, pointer: str, depth: int) -> FilterCondition:
        """The condition of a field."""
        if isinstance(value, Mapping):
            return self.object(value, pointer, depth)
        if isinstance(value, list | tuple):
            return self._all(value, pointer, depth, lambda each, at: self.value(each, at, depth + 1))
        if not _is_scalar(value):
            self.report(pointer, "is a number of more than 64 bits")
        return self._comparison(pointer, equal(value), quoted(value))

    def object(self, value: Mapping[str, Any], pointer: str, depth: int, *, is_event: bool = False) -> FilterCondition:
        """The condition of an object of operators and names."""
        if depth > limits.FILTER_DEPTH:
            self.report(pointer, f"is nested more deeply than {limits.FILTER_DEPTH} levels")
            return AllOf(pointer, ())
        if not value:
            self.report(pointer, "has no condition")
        conditions: list[FilterCondition] = []
        fields: dict[str, FilterCondition] = {}
        for name, operand in value.items():
            if self._ended:
                break
            at = f"{pointer}/{escaped(name)}"
            if name.startswith("$"):
                conditions.append(self._operator(name, operand, at, depth, is_event))
            elif is_event and name not in EVENT_FIELDS:
                self.report(at, f"is not a field of an event{_near(name, EVENT_FIELDS)}, one of {_list(EVENT_FIELDS)}")
            else:
                fields[name] = self.value(operand, at, depth + 1)
        if fields:
            conditions.append(Fields(pointer, fields))
        return conditions[0] if len(conditions) == 1 else AllOf(pointer, conditions)

    def _operator(self, name: str, operand: Any, pointer: str, depth: int, is_event: bool) -> FilterCondition:
        match name:
            case "$or" | "$and" | "$not":
                return self._logical(name, operand, pointer, depth, is_event)
            case _ if is_event and name in OPERATORS:
                self.report(pointer, f"compares a value: name a field before it, such as {_list(EVENT_FIELDS[-2:])}")
            case "$exist":
                if isinstance(operand, bool):
                    self._count(pointer)
                    return Existence(pointer, exists=operand)
                self.report(pointer, "takes true or false")
            case "$eq" | "$neq":
                if _is_scalar(operand):
                    kind = Comparison if name == "$eq" else NoneEqual
                    return self._comparison(pointer, equal(operand), quoted(operand), kind)
                self.report(pointer, "takes a text, a number of at most 64 bits, true, false or null")
            case "$gt" | "$gte" | "$lt" | "$lte":
                if _is_scalar(operand) and operand is not None and not isinstance(operand, bool):
                    return self._comparison(pointer, ordered(name, operand), f"{_ORDERED[name]} {quoted(operand)}")
                self.report(pointer, "takes a number of at most 64 bits or a text")
            case "$startsWith" | "$endsWith":
                if isinstance(operand, str) and operand:
                    test, words = _TEXTS[name]
                    return self._comparison(pointer, test(operand), f"{words} {quoted(operand)}")
                self.report(pointer, "takes a text")
            case "$in" | "$nin":
                return self._membership(name, operand, pointer)
            case _:
                self.report(pointer, f"is not an operator{_near(name, OPERATORS)}, one of {_list(OPERATORS)}")
        return AllOf(pointer, ())

    def _logical(self, name: str, operand: Any, pointer: str, depth: int, is_event: bool) -> FilterCondition:
        def inner(each: Any, at: str) -> FilterCondition:
            if isinstance(each, Mapping):
                return self.object(each, at, depth + 1, is_event=is_event)
            if is_event:
                self.report(at, "must be an object of conditions")
                return AllOf(at, ())
            return self.value(each, at, depth + 1)

        if name == "$not":
            return Negation(pointer, inner(operand, pointer))
        if not isinstance(operand, list | tuple) or not operand:
            self.report(pointer, "takes an array of conditions")
            return AllOf(pointer, ())
        kind: type[AnyOf | AllOf] = AnyOf if name == "$or" else AllOf
        return self._all(operand, pointer, depth, inner, kind)

    def _all(
        self,
        operands: list[Any] | tuple[Any, ...],
        pointer: str,
        depth: int,
        parse_one: Callable[[Any, str], FilterCondition],
        kind: type[AnyOf | AllOf] = AllOf,
    ) -> FilterCondition:
        if depth > limits.FILTER_DEPTH:
            self.report(pointer, f"is nested more deeply than {limits.FILTER_DEPTH} levels")
            return AllOf(pointer, ())
        if not operands:
            self.report(pointer, "has no condition")
        conditions: list[FilterCondition] = []
        for index, each in enumerate(operands):
            if self._ended:
                break
            conditions.append(parse_one(each, f"{pointer}/{index}"))
        return kind(pointer, conditions)

    def _membership(self, name: str, operand: Any, pointer: str) -> FilterCondition:
        if not isinstance(operand, list | tuple) or not all(map(_is_scalar, operand)):
            self.report(pointer, "takes an array of texts, numbers of at most 64 bits, true, false and null")
        elif not 1 <= len(operand) <= limits.FILTER_VALUES:
            self.report(pointer, f"takes 1 to {limits.FILTER_VALUES} values")
        else:
            wanted = f"one of {len(operand)} values" if len(operand) > 1 else quoted(operand[0])
            return self._comparison(pointer, among(operand), wanted, Comparison if name == "$in" else NoneEqual)
        return AllOf(pointer, ())

    def _comparison(
        self, pointer: str, test: Callable[[Any], bool], wanted: str, kind: type[Comparison] = Comparison
    ) -> FilterCondition:
        self._count(pointer)
        return kind(pointer, test, wanted)

    def _count(self, pointer: str) -> None:
        self.size += 1
        if self.size == limits.FILTER_CONDITIONS + 1:
            self.report(pointer, f"is one too many: a filter has at most {limits.FILTER_CONDITIONS} comparisons")


def escaped(name: str) -> str:
    """A name as a step of a JSON Pointer, clipped."""
    return name[: limits.TYPE].replace("~", "~0").replace("/", "~1")


def _is_scalar(value: Any) -> TypeGuard[Scalar]:
    """Whether a value can be compared, and stored: JSON libraries read larger numbers than they write."""
    if isinstance(value, int) and not isinstance(value, bool):
        return _LEAST <= value <= _GREATEST
    return isinstance(value, Scalar)


def _near(name: str, names: tuple[str, ...]) -> str:
    near = get_close_matches(name[: limits.ID], names, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)
