"""How much work it is at most to validate one value by one schema, counted before it is done.

A unit is about 25 ns of the validator's time, measured with the worst data for each keyword. Every applicator is taken
as asked, whatever the others say, and every pattern of `patternProperties` as matching. So the count is an upper bound,
and what stays within the budget cannot take long.

- For schemas without recursion one multiplication is enough: what all subschemas cost for one value, times the values.
- Else, and where that is too much, the evaluation is walked through, until it ends or the budget does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.core.schemas.graph import Graph, Node

#: units that one event may cost: 10 ms, and 50 ns for each of its bytes
BASE_UNITS = 400_000
UNITS_PER_BYTE = 2
#: steps of a walk, each about 1 µs
_BASE_STEPS = 10_000
_BYTES_PER_STEP = 8
#: evaluations inside each other; more could exhaust the stack
_MAX_DEPTH = 400
#: bytes of a compiled pattern that cost one unit per character, where all of its states are alive
_PATTERN_BYTES_PER_UNIT = 400
_MATCH = 10
#: one division of floats whose quotient is huge, and an ordinary one
_DIVISION = 500
_EASY_DIVISION = 80
_EASY_DIVIDEND = 1e15
#: hashing one value for `uniqueItems`
_HASH = 4
#: units of one step of a walk
_STEP = 40


class TooCostly(Exception):
    """Validating would cost more than the budget."""

    def __init__(self, units: int) -> None:
        super().__init__()
        #: what finding that out has cost
        self.units = units


class _Weight(msgspec.Struct, frozen=True):
    """What one subschema costs."""

    #: for any value
    fixed: int
    #: for an object, apart from its members
    lookups: int
    #: for each character of a string, and of a member's name
    per_char: int
    per_name_char: int
    #: for a number
    division: int
    unique: bool


class _Total(msgspec.Struct):
    """What all subschemas cost together for one value, and for one byte of it; None: there is no such bound."""

    per_value: int
    per_byte: int


class CostBound:
    """Upper bounds for one schema."""

    def __init__(self, graph: Graph, pattern_sizes: Mapping[str, int]) -> None:
        """`pattern_sizes` has the bytes of each pattern's compiled form at most."""
        self._root = graph.root
        self._sizes = pattern_sizes
        self._weights: dict[int, _Weight] = {}
        self._graph = graph  # keeps the ids alive
        self._total = None if _repeats(graph.root) else self._sum(graph.root, {})

    def check(self, data: bytes, value: Any) -> int:
        """The units at most; raises `TooCostly`. `value` is what `data` says in JSON."""
        budget = BASE_UNITS + UNITS_PER_BYTE * len(data)
        if self._total is not None:
            values = 1 + data.count(b",") + data.count(b"[") + data.count(b"{")  # strings may hold some, too
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
        """What a subschema itself costs."""
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
    """Goes through all evaluations that a value could cause."""

    def __init__(self, weight: Any, budget: int, steps: int) -> None:
        self._weight = weight
        self._budget = budget
        self.steps = steps
        self._marking: set[tuple[int, int]] = set()
        self.units = 0

    def evaluate(self, node: Node, value: Any, depth: int) -> None:
        """Count the evaluation of a value by a subschema, and all that it causes."""
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
        """To learn what is unevaluated, every applicator at the same value is asked again, and marks in its turn."""
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
        """Values inside, each counted as a step."""
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
        # `additionalProperties` and the marks of `unevaluatedProperties` ask each pattern again
        per_name_char=2 * sum(_per_char(sizes[name]) for name, _ in node.patterns),
        division=_DIVISION if "multipleOf" in keywords else 0,
        unique=keywords.get("uniqueItems") is True,
    )


def _per_char(size: int) -> int:
    return 1 + size // _PATTERN_BYTES_PER_UNIT


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _repeats(root: Node) -> bool:
    """Whether a schema refers to itself, or marks what is evaluated: then its evaluations are not a tree of its own."""
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
