"""Which metrics, labels, values and functions a PromQL query uses. Reads the language as far as our queries use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<duration>\d+(?:ms|[smhdwy])\b|\$__\w+|\$\{__\w+\})"""
    r"""|(?P<number>\d[\d.e+]*)|(?P<name>[a-zA-Z_:][\w:]*)|(?P<sign>=~|!~|!=|==|>=|<=|[^\s\w])""",
)
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_OPERATORS = {"and", "or", "unless", "offset", "bool", "atan2"}


class Selector(NamedTuple):
    """A metric, and what its labels must be."""

    metric: str
    #: label, operator, value
    matchers: tuple[tuple[str, str, str], ...]


class Query(NamedTuple):
    """What a query uses."""

    selectors: tuple[Selector, ...]
    #: labels of `by`, `on` and their like
    labels: frozenset[str]
    functions: frozenset[str]


def parse(text: str) -> Query:
    """What the query uses."""
    tokens = list(_tokens(text))
    selectors, labels, functions = [], set(), set()
    position = 0
    while position < len(tokens):
        kind, word = tokens[position]
        following = tokens[position + 1][1] if position + 1 < len(tokens) else ""
        if kind == "name" and word in _LISTS and following == "(":
            end = position + 2
            while tokens[end][1] != ")":
                if tokens[end][0] == "name":
                    labels.add(tokens[end][1])
                end += 1
            position = end
        elif kind == "name" and word not in _OPERATORS | _LISTS:
            if following == "{":
                matchers, position = _matchers(tokens, position + 2)
                selectors.append(Selector(word, matchers))
            elif following == "(" or (following in _LISTS):
                functions.add(word)
            else:
                selectors.append(Selector(word, ()))
        position += 1
    return Query(tuple(selectors), frozenset(labels), frozenset(functions))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(text):
        assert match.lastgroup is not None
        yield match.lastgroup, match.group()


def _matchers(tokens: list[tuple[str, str]], position: int) -> tuple[tuple[tuple[str, str, str], ...], int]:
    """The matchers up to the closing brace, and its position."""
    matchers = []
    while tokens[position][1] != "}":
        if tokens[position][0] == "name":
            matchers.append((tokens[position][1], tokens[position + 1][1], tokens[position + 2][1][1:-1]))
            position += 3
        else:
            position += 1
    return tuple(matchers), position
