"""YAML (or JSON) as plain values that remember their lines, within bounds.

The scalars are those of YAML 1.2's core schema, so that `no`, `on`, `12:30` and dates are text. Anchors, aliases and
the merge key `<<` work; an alias counts as often as it is used. Tags other than `!!str`, keys that occur twice, and
aliases of what contains them are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

#: bytes of one file
FILE_BYTES = 32 * 1024 * 1024
#: levels of nesting, and values of one file, aliases written out
DEPTH = 100
VALUES = 2_000_000

_WORDS: tuple[tuple[str, bool | None], ...] = (("null", None), ("true", True), ("false", False))
_CONSTANTS: dict[str, bool | None] = {
    "": None,
    "~": None,
    **{word: value for text, value in _WORDS for word in (text, text.title(), text.upper())},
}
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_TAGS = {
    "ScalarEvent": (None, "!", "tag:yaml.org,2002:str"),
    "SequenceStartEvent": (None, "!", "tag:yaml.org,2002:seq"),
    "MappingStartEvent": (None, "!", "tag:yaml.org,2002:map"),
}


class BadYaml(Exception):
    """A file cannot be read; the line counts from 1, 0: not known."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line
        self.sentence = sentence


class Table(dict[str, Any]):
    """A mapping with the line of each key."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class Rows(list[Any]):
    """A list with the line of each entry."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[int] = []


class _Open:
    """A mapping or list that has begun, and not ended."""

    __slots__ = ("anchor", "height", "key", "key_line", "line", "merged", "value", "weight")

    def __init__(self, value: Table | Rows, line: int, anchor: str | None) -> None:
        self.value = value
        self.line = line
        self.anchor = anchor
        self.key: str | None = None
        self.key_line = line
        self.weight = 1
        self.height = 1
        self.merged: list[tuple[Any, int]] = []


class _Value:
    """A whole value: how many values it has in all, and how many levels."""

    __slots__ = ("height", "value", "weight")

    def __init__(self, value: Any, weight: int = 1, height: int = 0) -> None:
        self.value = value
        self.weight = weight
        self.height = height


def read_yaml(content: bytes) -> Iterator[tuple[Any, int]]:
    """Each document of a file with its first line. Raises `BadYaml`."""
    import yaml

    if len(content) > FILE_BYTES:
        raise BadYaml(0, f"the file is larger than {FILE_BYTES // 1024 // 1024} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadYaml(line, "is not UTF-8 text") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            yield from builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        sentence = " ".join(str(error.problem or error.context or "is not YAML").split())[:200]
        raise BadYaml(mark.line + 1 if mark is not None else 0, sentence) from error
    except yaml.YAMLError as error:
        raise BadYaml(0, " ".join(str(error).split())[:200]) from error


def plain_value(text: str) -> Any:
    """The value of a scalar without quotes. Raises `ValueError` for a number that JSON cannot hold."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    if math.isinf(number) or len(text) > 40:
        raise ValueError
    return number


class _Builder:
    """Puts values together from the events of a parser, without recursion."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._anchors: dict[str, _Value | None] = {}
        self._count = 0

    def take(self, event: Any) -> Iterator[tuple[Any, int]]:
        """The document that ends with this event, if one does."""
        line = event.start_mark.line + 1
        match type(event).__name__:
            case "DocumentStartEvent":
                self._anchors = {}
            case "AliasEvent":
                yield from self._add(self._alias(event.anchor, line), line)
            case "ScalarEvent":
                value = _Value(self._scalar(event, line))
                if event.anchor is not None:
                    self._anchors[event.anchor] = value
                yield from self._add(value, line)
            case "MappingStartEvent" | "SequenceStartEvent" as kind:
                self._begin(event, Table() if kind == "MappingStartEvent" else Rows(), line)
            case "MappingEndEvent" | "SequenceEndEvent":
                yield from self._end()
            case _:
                pass

    def _begin(self, event: Any, value: Table | Rows, line: int) -> None:
        _check_tag(event, line)
        if self._open and isinstance(self._open[-1].value, Table) and self._open[-1].key is None:
            raise BadYaml(line, "a key must be text")
        if len(self._open) >= DEPTH:
            raise BadYaml(line, f"is nested more than {DEPTH} levels deep")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(value, line, event.anchor))

    def _end(self) -> Iterator[tuple[Any, int]]:
        ended = self._open.pop()
        for source, line in ended.merged:
            _merge(ended.value, source, line)
        value = _Value(ended.value, ended.weight, ended.height)
        if ended.anchor is not None:
            self._anchors[ended.anchor] = value
        yield from self._add(value, ended.line, counted=True)

    def _add(self, value: _Value, line: int, *, counted: bool = False) -> Iterator[tuple[Any, int]]:
        self._count += 1 if counted else value.weight
        if self._count > VALUES:
            raise BadYaml(line, f"has more than {VALUES:,} values, aliases written out")
        if not self._open:
            yield value.value, line
            return
        into = self._open[-1]
        if len(self._open) + value.height > DEPTH:
            raise BadYaml(line, f"is nested more than {DEPTH} levels deep")
        into.weight += value.weight
        into.height = max(into.height, value.height + 1)
        if isinstance(into.value, Rows):
            into.value.append(value.value)
            into.value.lines.append(line)
        else:
            self._add_to_table(into, into.value, value.value, line)

    @staticmethod
    def _add_to_table(into: _Open, table: Table, value: Any, line: int) -> None:
        if into.key is None:
            if not isinstance(value, str):
                raise BadYaml(line, "a key must be text")
            into.key, into.key_line = value, line
            return
        key, into.key = into.key, None
        if key == "<<":
            into.merged.append((value, line))
        elif key in table:
            raise BadYaml(into.key_line, f"{key[:80]!r} occurs twice, first in line {table.lines[key]}")
        else:
            table[key] = value
            table.lines[key] = into.key_line

    def _alias(self, name: str, line: int) -> _Value:
        if name not in self._anchors:
            raise BadYaml(line, f"*{name[:80]} has no anchor &{name[:80]} before it")
        value = self._anchors[name]
        if value is None:
            raise BadYaml(line, f"*{name[:80]} stands inside of what it repeats")
        return value

    def _scalar(self, event: Any, line: int) -> Any:
        _check_tag(event, line)
        is_key = bool(self._open) and isinstance(self._open[-1].value, Table) and self._open[-1].key is None
        if is_key or event.tag is not None or not event.implicit[0]:
            return event.value
        try:
            return plain_value(event.value)
        except ValueError as error:
            raise BadYaml(line, f"{event.value[:40]} is no number that JSON can hold; write text in quotes") from error


def _check_tag(event: Any, line: int) -> None:
    if event.tag not in _TAGS[type(event).__name__]:
        raise BadYaml(line, f"the tag {event.tag[:80]} is not allowed")


def _merge(into: Table | Rows, source: Any, line: int) -> None:
    """Add what the merge key names, without replacing anything."""
    sources = source if isinstance(source, Rows) else [source]
    if not isinstance(into, Table) or not all(isinstance(each, Table) for each in sources):
        raise BadYaml(line, "<< needs a mapping, or a list of mappings")
    for each in sources:
        for key, value in each.items():
            if key not in into:
                into[key] = value
                into.lines[key] = each.lines[key]
