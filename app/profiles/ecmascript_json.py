"""The bytes that JavaScript's `JSON.stringify(JSON.parse(raw))` gives, or the reason why they would say something else.

Rules of this file

- Two ways to one result. `_plain` lets the json module do the work and gives up on anything unusual; `_exact` reads
  token by token and is the reference: it knows every rule, every error and where it is. Both must agree.
- Nothing recurses on the document and nothing is quadratic in it: depth is bounded, and found out before `_plain` runs.
- Changes that JavaScript makes to the *writing* are made (key order, escapes, 1.0 → 1, the last duplicate in the
  first one's place).
  Changes to the *value* are refused:
    an integer literal promises every digit: it must print the same digits again (9007199254740993 does not);
    a literal with a point or an exponent is a double for JSON's writers and readers alike: it may round to the
    nearest double, but neither overflow to Infinity (which JSON cannot write) nor vanish to 0;
    -0 is 0.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from json.encoder import encode_basestring
from typing import NoReturn

from app.core.errors import Unrepresentable

#: deepest nesting of arrays and objects; V8's own stringify stops near 4000 on its default stack
MAX_DEPTH = 1000

_EXACT_INTEGERS = 2**53
_LAST_ARRAY_INDEX = 2**32 - 2

#: a tree of containers whose leaves are JSON text already
_Tree = str | list["_Tree"] | dict[str, "_Tree"]


def quote(text: str) -> bytes:
    """A string as JSON, escaped as JavaScript does: only what must be, lone surrogates as lower-case `\\udxxx`."""
    return encode_basestring(text).encode("utf-8", "backslashreplace")


def stringify(raw: bytes) -> bytes:
    """`JSON.stringify(JSON.parse(raw))`, byte for byte.

    Raises `Unrepresentable` for invalid JSON, for numbers that would change, and beyond `MAX_DEPTH`.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Unrepresentable("", f"not JSON: byte {error.start} is not UTF-8") from error
    plain = _plain(text)
    return (_exact(text) if plain is None else plain).encode("utf-8", "backslashreplace")


# --- the common document ------------------------------------------------------------------------------------------

#: keys that JavaScript would move to the front, as they are or with an escaped digit; strings like them do no harm
_INDEX_KEY = re.compile(r'"\d{1,10}"[ \t\n\r]*:|\\u003\d', re.ASCII)
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = re.compile(r"[^\[\]{}]+")
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


def _plain(text: str) -> str | None:
    """The result for an ordinary document; None: `_exact` is needed."""
    if _INDEX_KEY.search(text) or (text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH):
        return None
    try:
        return _encoder.encode(_decoder.decode(text))
    except (ValueError, RecursionError):
        return None


def _depth(text: str) -> int:
    return max(accumulate(map(_STEP.__getitem__, _NOT_BRACKETS.sub("", _STRING.sub("", text)))), default=0)


def _plain_integer(literal: str) -> int:
    if len(literal) > 17:
        raise ValueError(literal)
    value = int(literal)
    if not -_EXACT_INTEGERS <= value <= _EXACT_INTEGERS:
        raise ValueError(literal)
    return value


def _plain_double(literal: str) -> float | int:
    value = float(literal)
    if not value and not literal.strip("-0."):
        return 0
    if not 1e-4 <= abs(value) < _EXACT_INTEGERS:  # outside, Python and JavaScript write doubles differently
        raise ValueError(literal)
    return int(value) if value.is_integer() else value


def _constant(literal: str) -> NoReturn:
    raise ValueError(literal)


_decoder = json.JSONDecoder(parse_int=_plain_integer, parse_float=_plain_double, parse_constant=_constant)
_encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
# --- every document -----------------------------------------------------------------------------------------------
_TOKEN = re.compile(
    r"""[ \t\n\r]*+(?:
        (?P<string>"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+")
      | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)
      | (?P<word>true|false|null)
      | (?P<mark>[\[\]{},:])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
#: a refusal names at most so much of the way to the culprit, in characters
_LONGEST_POINTER = 1000


def _exact(text: str) -> str:
    """The result for any document, or its `Unrepresentable`."""
    written: list[str] = []
    todo: list[_Tree] = [_Reader(text).document()]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            written.append(item)
        else:
            todo.extend(reversed([*_parts(item)]))
    return "".join(written)


def _parts(container: list[_Tree] | dict[str, _Tree]) -> Iterator[_Tree]:
    """A container's punctuation, keys and values in the order of writing."""
    if isinstance(container, dict):
        mark = "{"
        for key, value in _in_order(container):
            yield f"{mark}{encode_basestring(key)}:"
            yield value
            mark = ","
        yield "}" if container else "{}"
    else:
        mark = "["
        for value in container:
            yield mark
            yield value
            mark = ","
        yield "]" if container else "[]"


def _in_order(members: dict[str, _Tree]) -> Iterable[tuple[str, _Tree]]:
    """Array indexes first, ascending; then the other keys as they came."""
    indexes = [key for key in members if _is_index(key)]
    if not indexes:
        return members.items()
    indexes.sort(key=int)
    return [*((key, members[key]) for key in indexes), *(each for each in members.items() if not _is_index(each[0]))]


def _is_index(key: str) -> bool:
    if not (key.isascii() and key.isdigit() and len(key) <= 10):
        return False
    return (key == "0" or key[0] != "0") and int(key) <= _LAST_ARRAY_INDEX


class _Open:
    """A container that is being read, and the key of its current member."""

    __slots__ = ("items", "key", "members")

    def __init__(self, mark: str) -> None:
        self.members: dict[str, _Tree] | None = {} if mark == "{" else None
        self.items: list[_Tree] = []
        self.key = ""

    def add(self, value: _Tree) -> None:
        if self.members is None:
            self.items.append(value)
        else:
            self.members[self.key] = value

    @property
    def tree(self) -> _Tree:
        return self.items if self.members is None else self.members

    @property
    def closing(self) -> str:
        return "]" if self.members is None else "}"

    @property
    def step(self) -> str:
        if self.members is None:
            return str(len(self.items))
        key = self.key.encode("utf-8", "backslashreplace").decode()
        return key.replace("~", "~0").replace("/", "~1")


class _Reader:
    """Reads one document without recursion; `_open` has the containers around the current position."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[_Open] = []

    def document(self) -> _Tree:
        value = self._value()
        while value is None or self._open:
            if value is None:
                value = self._value()
            else:
                container = self._open[-1]
                container.add(value)
                value = container.tree if self._ends(container) else None
        if self._token()[0] != "end":
            self._malformed("the end")
        return value

    def _value(self) -> _Tree | None:
        """A leaf or an empty container; None: a container begins."""
        kind, token = self._token()
        if kind == "string":
            return encode_basestring(self._string(token))
        if kind == "number":
            return self._number(token)
        if kind == "word":
            return token
        if token not in ("[", "{"):
            self._malformed("a value")
        return self._begin(token)

    def _begin(self, mark: str) -> _Tree | None:
        if len(self._open) == MAX_DEPTH:
            raise Unrepresentable("", f"nested more than {MAX_DEPTH} deep")
        container = _Open(mark)
        before = self._at
        if self._token()[1] == container.closing:
            return container.tree
        self._at = before
        self._open.append(container)
        if mark == "{":
            self._key(container)
        return None

    def _ends(self, container: _Open) -> bool:
        """Whether the container is closed after this value; else another value follows."""
        token = self._token()[1]
        if token == container.closing:
            self._open.pop()
            return True
        if token != ",":
            self._malformed(f"a comma or {container.closing}")
        if container.members is not None:
            self._key(container)
        return False

    def _key(self, container: _Open) -> None:
        kind, token = self._token()
        if kind != "string":
            self._malformed("a key")
        container.key = self._string(token)
        if self._token()[1] != ":":
            self._malformed("a colon")

    def _string(self, token: str) -> str:
        try:
            text: str = json.loads(token)
        except ValueError:
            self._malformed("a string with valid escapes")
        return text

    def _number(self, literal: str) -> str:
        value = float(literal)
        if math.isinf(value):
            self._refuse(f"the number {_shortened(literal)} is beyond JavaScript's range")
        written = _number(value)
        if literal.lstrip("-").isdigit():
            if value and not _same_integer(literal, value):
                self._refuse(f"the integer {_shortened(literal)} would become {written} in JavaScript")
        elif not value and _SIGNIFICANT.match(literal):
            self._refuse(f"the number {_shortened(literal)} would become 0 in JavaScript")
        return written

    def _token(self) -> tuple[str, str]:
        """Kind and text of the next token; the text is empty at the end and for invalid text."""
        token = _TOKEN.match(self._text, self._at)
        if token is None:
            return "unreadable", ""
        kind = str(token.lastgroup)
        self._at = token.end()
        return kind, token[kind]

    def _malformed(self, wanted: str) -> NoReturn:
        raise Unrepresentable("", f"not JSON: {wanted} expected before character {self._at}")

    def _refuse(self, detail: str) -> NoReturn:
        pointer = ""
        for container in self._open:
            longer = f"{pointer}/{container.step}"
            if len(longer) > _LONGEST_POINTER:
                break
            pointer = longer
        raise Unrepresentable(pointer, detail)


# --- numbers ------------------------------------------------------------------------------------------------------

_SIGNIFICANT = re.compile(r"-?[0.]*[1-9]")


def _number(value: float) -> str:
    """ECMAScript's Number::toString for a finite double."""
    if not value:
        return "0"
    digits, point = _shortest(value)
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _shortest(value: float) -> tuple[str, int]:
    """The shortest digits d that identify a double, and n such that |value| = 0.d * 10**n."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole) + len(fraction) - len(digits)
    return digits.rstrip("0"), len(whole) - leading + int(exponent or 0)


def _same_integer(literal: str, value: float) -> bool:
    digits, point = _shortest(value)
    given = literal.lstrip("-")
    return len(given) == point and given.rstrip("0") == digits


def _shortened(literal: str) -> str:
    return literal if len(literal) <= 40 else f"{literal[:20]}… of {len(literal)} characters"
