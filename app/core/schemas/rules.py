"""Which JSON Schemas (2020-12) are accepted: those whose validation cost can be bounded before validation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from app.core.schemas.graph import BadSchema, Graph, Node, escaped

#: evaluations of subschemas for one value; a schema of a kilobyte can demand billions
MAX_EVALUATIONS = 10_000
#: subschemas on one path through references without a repetition
_MAX_WAY = 300
#: patterns of one schema, names of `patternProperties` included, and the bytes of all of them when compiled
MAX_PATTERNS = 200
MAX_PATTERN_BYTES = 2_097_152
_DYNAMIC = ("$dynamicRef", "$recursiveRef")
#: bounds of `multipleOf`; outside them, one division costs as much as a whole event
_DIVISORS = (1e-9, 1e15)

#: possessive quantifiers (`a++`) are not ECMAScript, and backtrack where the validator has no linear engine
_POSSESSIVE = re.compile(r"[*+?}]\+")
_LITERAL = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]", re.DOTALL)
_BOUNDARY = re.compile(r"\\[bB<>]")


def check(graph: Graph, pattern_bytes: Callable[[str], int | None]) -> dict[str, int]:
    """Pattern → its size in bytes, for all patterns of the schema. Raises `BadSchema` with the first problem.

    `pattern_bytes` returns the maximum size of a compiled pattern; None if the linear engine does not support it.
    """
    sizes: dict[str, int] = {}
    for node in graph.nodes:
        _check_keywords(node)
        for place, pattern in _patterns(node):
            if pattern not in sizes:
                sizes[pattern] = _checked_pattern(place, pattern, pattern_bytes)
            if len(sizes) > MAX_PATTERNS or sum(sizes.values()) > MAX_PATTERN_BYTES:
                most = f"at most {MAX_PATTERNS}, and {MAX_PATTERN_BYTES} bytes when compiled"
                raise BadSchema(place, f"too many patterns, or too large ones: {most}")
    if any("unevaluatedProperties" in node.keywords for node in graph.nodes):
        _check_boundaries(graph)
    count = _evaluations(graph.root, {}, 0)
    if count > MAX_EVALUATIONS:
        raise BadSchema("", f"it could cost {count} evaluations for one value; the limit is {MAX_EVALUATIONS}")
    return sizes


def _check_keywords(node: Node) -> None:
    for keyword in _DYNAMIC:
        if keyword in node.keywords:
            raise BadSchema(
                f"{node.pointer}/{keyword}", f"{keyword} is not supported: use a $ref that begins with `#/`"
            )
    if node.pointer and "$id" in node.keywords:
        raise BadSchema(f"{node.pointer}/$id", "only the schema itself may have an $id")
    divisor = node.keywords.get("multipleOf")
    if isinstance(divisor, (int, float)) and not _DIVISORS[0] <= divisor <= _DIVISORS[1]:
        raise BadSchema(f"{node.pointer}/multipleOf", "between 1e-9 and 1e15")


def _patterns(node: Node) -> Iterator[tuple[str, str]]:
    pattern = node.keywords.get("pattern")
    if isinstance(pattern, str):
        yield f"{node.pointer}/pattern", pattern
    for name, _ in node.patterns:
        yield f"{node.pointer}/patternProperties/{escaped(name)}", name


def _checked_pattern(place: str, pattern: str, pattern_bytes: Callable[[str], int | None]) -> int:
    size = None if _POSSESSIVE.search(_LITERAL.sub("x", pattern)) else pattern_bytes(pattern)
    if size is None:
        raise BadSchema(
            place,
            "it cannot be matched in linear time: back-references, look-around, possessive quantifiers and very large "
            "repetitions such as a{1,1000}{1,1000} are not supported",
        )
    return size


def _check_boundaries(graph: Graph) -> None:
    """Refuse word boundaries: with `unevaluatedProperties` the validator matches names by backtracking at them."""
    for node in graph.nodes:
        for name, _ in node.patterns:
            if _BOUNDARY.search(name):
                place = f"{node.pointer}/patternProperties/{escaped(name)}"
                raise BadSchema(place, "in a schema with unevaluatedProperties it may not use \\b or \\B")


def _evaluations(node: Node, counts: dict[int, int], way: int) -> int:
    """The number of subschemas evaluated for one value; `counts` caches the results by node."""
    if way > _MAX_WAY:
        raise BadSchema(node.pointer[:200], f"nested deeper than {_MAX_WAY} subschemas, references included")
    if id(node) not in counts:
        counts[id(node)] = 1
        counts[id(node)] = 1 + sum(_evaluations(each, counts, way + 1) for each in node.children())
    return counts[id(node)]


class Violation(msgspec.Struct, frozen=True):
    """The reason why an event does not count as valid against its type's schema."""

    #: the data violates the schema, validating would cost too much, or the schema itself cannot be used
    reason: Literal["schema", "schema_too_costly", "schema_unusable"]
    #: the location and the violation, as a sentence
    detail: str
