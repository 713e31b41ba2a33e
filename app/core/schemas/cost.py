"""Upper bounds for the work of validating a value against a schema, computed before validation.

A unit is about 25 ns of the validator's time, measured with the worst data for each keyword. The bound assumes that
every applicator is evaluated, whatever the others return, and that every pattern of `patternProperties` matches.

- For schemas without recursion one multiplication suffices: the cost of all subschemas for one value, times the number
  of values.
- For other schemas, and if that bound exceeds the budget, the evaluation is simulated until it ends or exceeds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.core.schemas.graph import Graph, Node

#: units that one event may cost: 10 ms, and 50 ns for each of its bytes
BASE_UNITS = 400_000
UNITS_PER_BYTE = 2
#: steps of a simulation, each about 1 µs
_BASE_STEPS = 10_000
_BYTES_PER_STEP = 8
#: nested evaluations; more could exhaust the stack
_MAX_DEPTH = 400
#: bytes of a compiled pattern that cost one unit per character if all of its states are active
_PATTERN_BYTES_PER_UNIT = 400
_MATCH = 10
#: one division of floats with a huge quotient, and an ordinary one
_DIVISION = 500
_EASY_DIVISION = 80
_EASY_DIVIDEND = 1e15
#: hashing one value for `uniqueItems`
_HASH = 4
#: units of one step of a simulation
_STEP = 40


class TooCostly(Exception):
    """Validating would cost more than the budget."""

    def __init__(self, units: int) -> None:
        super().__init__()
        #: units spent on computing the bound
        self.units = units


class _Weight(msgspec.Struct, frozen=True):
    """The cost of one subschema, in units."""

    #: for any value
    fixed: int
    #: for an object, without its members
    lookups: int
    #: for each character of a string, and of the name of a member
    per_char: int
    per_name_char: int
    #: for a number
    division: int
    unique: bool


class _Total(msgspec.Struct):
    """The cost of all subschemas together for one value, and for one byte of it, in units."""

    per_value: int
    per_byte: int


class CostBound:
    """Upper bounds for one schema."""

    def __init__(self, graph: Graph, pattern_sizes: Mapping[str, int]) -> None:
        """`pattern_sizes`: pattern → maximum bytes of its compiled form."""
        self._root = graph.root
        self._sizes = pattern_sizes
        self._weights: dict[int, _Weight] = {}
        self._graph = graph  # a reference, so that the ids of its nodes stay unique
        self._total = None if _repeats(graph.root) else self._sum(graph.root, {})

    def check(self, data: bytes, value: Any) -> int:
        """The bound in units. Raises `TooCostly`. `value` is `data` decoded from JSON."""
        budget = BASE_UNITS + UNITS_PER_BYTE * len(data)
        if self._total is not None:
            values = 1 + data.count(b",") + data.count(b"[") + data.count(b"{")  # those in strings only raise the bound
            units = self._total.per_value * values + self._total.per_byte * len(data)
            if units <= budget:
                return units
        steps = _BASE_STEPS + len(data) // _BYTES_PER_STEP
        walk = _Walk(self.weight, budget, steps)
        try:
            walk.evaluate(self._root, value, 0)
        except TooCostly:
            raise TooCostly(_STEP * (steps - max(0, walk.steps))) from None
        return walk.units + _STEP * (steps - walk.steps)

    def weight(self, node: Node) -> _Weight:
        """The cost of a subschema without its children."""
        weight = self._weights.get(id(node))
        if weight is None:
            weight = self._weights[id(node)] = _weight(node, self._sizes)
        return weight

    def _sum(self, node: Node, sums: dict[int, _Total]) -> _Total:
        total = sums.get(id(node))
        if total is None:
            own = self.weight(node)
            total = _Total(
                own.fixed + own.lookups + own.division + (_HASH if own.unique else 0) + _MATCH * len(node.patterns),
                own.per_char + own.per_name_char,
            )
            for child in node.children():
                below = self._sum(child, sums)
                total.per_value += below.per_value
                total.per_byte += below.per_byte
            sums[id(node)] = total
        return total


class _Walk:
    """Simulates all evaluations that a value can cause."""

    def __init__(self, weight: Any, budget: int, steps: int) -> None:
        self._weight = weight
        self._budget = budget
        self.steps = steps
        self._marking: set[tuple[int, int]] = set()
        self.units = 0

    def evaluate(self, node: Node, value: Any, depth: int) -> None:
        """Add the cost of evaluating a value against a subschema, including nested evaluations."""
        self._spend(node, value, depth)
        for each in node.same:
            self.evaluate(each, value, depth + 1)
        if node.ref is not None:
            self.evaluate(node.ref, value, depth + 1)
        if isinstance(value, dict):
            self._members(node, value, depth + 1)
        elif isinstance(value, list):
            self._items(node, value, depth + 1)
        if node.marks:
            self._mark(node, value, depth + 1)

    def _members(self, node: Node, members: Mapping[str, Any], depth: int) -> None:
        for name, value in members.items():
            exact = node.names.get(name)
            if exact is not None:
                self.evaluate(exact, value, depth)
            for _, each in node.patterns:
                self.evaluate(each, value, depth)
            if node.additional is not None and exact is None:
                self.evaluate(node.additional, value, depth)
            if node.any_name is not None:
                self.evaluate(node.any_name, name, depth)
            if node.unevaluated is not None and exact is None:
                self.evaluate(node.unevaluated, value, depth)

    def _items(self, node: Node, items: list[Any], depth: int) -> None:
        for each, value in zip(node.prefix, items, strict=False):
            self.evaluate(each, value, depth)
        for each in node.items:
            for value in items:
                self.evaluate(each, value, depth)

    def _mark(self, node: Node, value: Any, depth: int) -> None:
        """Add the cost of finding unevaluated members: all applicators of the value are evaluated again."""
        place = (id(node), id(value))
        if place in self._marking:
            return
        self._marking.add(place)
        self._spend(node, value, depth)
        for each in node.same:
            self.evaluate(each, value, depth + 1)
            self._mark(each, value, depth + 1)
        if node.ref is not None:
            self._mark(node.ref, value, depth + 1)
        if isinstance(value, dict) and node.unevaluated is not None:
            for name, member in value.items():
                if name not in node.names:
                    self.evaluate(node.unevaluated, member, depth + 1)
        elif isinstance(value, list):
            self._items(node, value, depth + 1)
        self._marking.discard(place)

    def _spend(self, node: Node, value: Any, depth: int) -> None:
        weight: _Weight = self._weight(node)
        self.units += weight.fixed
        match value:
            case str():
                self.units += len(value) // 16 + weight.per_char * len(value)
            case dict():
                self.units += weight.lookups + 2 * len(value)
                if weight.per_name_char:
                    self.units += sum(_MATCH * len(node.patterns) + weight.per_name_char * len(name) for name in value)
            case list():
                self.units += _HASH * self._size(value) if weight.unique else 0
            case int() | float() if weight.division:
                self.units += _EASY_DIVISION if abs(value) < _EASY_DIVIDEND else _DIVISION
        self.steps -= 1
        if self.units > self._budget or self.steps < 0 or depth > _MAX_DEPTH:
            raise TooCostly(0)

    def _size(self, value: Any) -> int:
        """The number of nested values; an eighth of them counts as steps."""
        size, pending = 0, [value]
        while pending:
            inner = pending.pop()
            size += 1
            if isinstance(inner, (dict, list)):
                pending += inner.values() if isinstance(inner, dict) else inner
        self.steps -= size // 8
        return size


def _weight(node: Node, sizes: Mapping[str, int]) -> _Weight:
    keywords = node.keywords
    pattern = keywords.get("pattern")
    dependent = keywords.get("dependentRequired")
    compared = [keywords[name] for name in ("enum", "const") if name in keywords]
    lookups = 2 * (len(node.names) + _length(keywords.get("required")))
    if isinstance(dependent, dict):
        lookups += sum(2 + 2 * _length(each) for each in dependent.values())
    return _Weight(
        fixed=3
        + len(keywords)
        + (_MATCH if pattern is not None else 0)
        + sum(_length(each) + len(msgspec.json.encode(each)) // 8 for each in compared),
        lookups=lookups,
        per_char=_per_char(sizes[pattern]) if isinstance(pattern, str) else 0,
        # `additionalProperties` and `unevaluatedProperties` match each pattern again
        per_name_char=2 * sum(_per_char(sizes[name]) for name, _ in node.patterns),
        division=_DIVISION if "multipleOf" in keywords else 0,
        unique=keywords.get("uniqueItems") is True,
    )


def _per_char(size: int) -> int:
    return 1 + size // _PATTERN_BYTES_PER_UNIT


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _repeats(root: Node) -> bool:
    """Whether a schema is recursive or uses `unevaluated…`, so that a sum over its subschemas is no bound."""
    open_: set[int] = set()
    done: set[int] = set()

    def visit(node: Node) -> bool:
        if id(node) in done:
            return False
        if id(node) in open_ or node.marks:
            return True
        open_.add(id(node))
        repeats = any(visit(each) for each in node.children())
        open_.discard(id(node))
        done.add(id(node))
        return repeats

    return visit(root)
