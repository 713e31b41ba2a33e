"""All the problems of a value at once, as sentences without the names of Python's types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
import msgspec.inspect

_MOST = 20
_PLACE = re.compile(r" - at `(?:key in )?(\$[^`]*)`$")
#: msgspec's error for a value outside of the allowed ones
_NO_CHOICE = re.compile(r"Invalid (?:enum )?value '.*'", re.DOTALL)
_WORDS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"Expected `str` of length <= (\d+)"), lambda match: f"at most {match[1]} characters"),
    (re.compile(r"Expected `str` of length >= (\d+)"), lambda match: f"at least {_count(match[1], 'character')}"),
    (re.compile(r"Expected `(?:array|object)` of length <= (\d+)"), lambda match: f"at most {match[1]} entries"),
    (re.compile(r"Expected `(?:array|object)` of length >= (\d+)"), lambda match: f"at least {match[1]}"),
    (re.compile(r"Expected `(?:float|int)` <= (\S+)"), lambda match: f"at most {_plain(match[1])}"),
    (re.compile(r"Expected `(?:float|int)` >= (\S+)"), lambda match: f"at least {_plain(match[1])}"),
)


def shape_problems(values: Mapping[str, Any], kind: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """(JSON Pointer, sentence) for each field of `values` that does not fit `kind`, 20 at most.

    `values` are decoded JSON.
    """
    yield from islice(_all_problems(values, kind), _MOST)


def _all_problems(values: Mapping[str, Any], kind: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name in values:
            yield from _problems(name, values[name], field.type)
        elif field.required:
            yield f"/{name}", "is required"
    if kind.__struct_config__.forbid_unknown_fields:
        for name in values:
            if name not in fields:
                yield "/" + name[:80].replace("~", "~0").replace("/", "~1"), "is not a field"


def in_words(error: msgspec.ValidationError, type_: Any = None) -> tuple[str, str]:
    """(JSON Pointer, sentence) of an error of msgspec. With the type of the value, choices are listed."""
    text = str(error)
    place = _PLACE.search(text)
    sentence = _PLACE.sub("", text)
    for pattern, words in _WORDS:
        match = pattern.fullmatch(sentence)
        if match:
            sentence = words(match)
    pointer = _pointer(place[1]) if place else ""
    if type_ is not None and _NO_CHOICE.fullmatch(sentence):
        choices = _choices(type_, pointer)
        sentence += f", not one of {', '.join(choices)}" if choices else ""
    return pointer, sentence


def _choices(type_: Any, pointer: str) -> list[str]:
    """The values that a literal type has, or the tags of structs, if the pointer leads to the tag."""
    info = _bare(msgspec.inspect.type_info(type_))
    choices: list[str] = []
    for each in map(_bare, info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)):
        if isinstance(each, msgspec.inspect.LiteralType) and not pointer:
            choices += map(str, each.values)
        elif isinstance(each, msgspec.inspect.StructType) and each.tag and pointer == f"/{each.tag_field}":
            choices.append(str(each.tag))
    return choices


def _bare(info: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """A type without what a schema says about it."""
    return info.type if isinstance(info, msgspec.inspect.Metadata) else info


def _problems(name: str, value: Any, type_: Any) -> Iterator[tuple[str, str]]:
    try:
        msgspec.convert(value, type_, str_keys=True)
    except msgspec.ValidationError as error:
        pointer, sentence = in_words(error, type_)
        yield f"/{name}{pointer}", sentence


def _pointer(place: str) -> str:
    """msgspec's `$.a[0].b` as a JSON Pointer."""
    steps = re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", place)
    return "".join("/" + (name or index) for name, index in steps)


def _plain(number: str) -> str:
    return f"{float(number):.12g}"


def _count(number: str, noun: str) -> str:
    return f"{number} {noun}" if number == "1" else f"{number} {noun}s"
