"""Included fields: a part of the data, whose values keep their bytes."""

from __future__ import annotations

import json

import pytest

from app.core import limits
from app.core.errors import TransformFailed
from app.core.transforms.included_fields import included, path_problems

INNER = b'{"b": [ {"c": 12345678901234567890123, "d": 2}, 3, {"d": 4}, [{"c": 5}] ], "e": null}'
DATA = b'{"id": 1.10, "a": ' + INNER + b', "x": "\\u00e9"}'


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (("id",), b'{"id":1.10}'),
        (("x", "id"), b'{"id":1.10,"x":"\\u00e9"}'),
        (("a.b.c",), b'{"a":{"b":[{"c":12345678901234567890123},{},[{"c":5}]]}}'),
        (("a.e",), b'{"a":{"e":null}}'),
        (("a", "a.e"), b'{"a":' + INNER + b"}"),
        (("a.e", "a"), b'{"a":' + INNER + b"}"),
        (("id.below", "nothing", "x.y.z"), b"{}"),
    ],
)
def test_what_is_included_keeps_its_bytes_and_its_order(paths: tuple[str, ...], wanted: bytes) -> None:
    assert included(DATA, paths) == wanted


@pytest.mark.parametrize(
    ("data", "wanted"), [(b"3", b"null"), (b'"a"', b"null"), (b"[ 1, {} ]", b"[{}]"), (b"[]", b"[]")]
)
def test_data_without_fields_has_none(data: bytes, wanted: bytes) -> None:
    assert included(data, ("a",)) == wanted


def test_a_name_that_occurs_twice_is_included_once_with_its_last_value() -> None:
    assert included(b'{"a":1,"b":2,"a":3}', ("a",)) == b'{"a":3}'


def test_names_are_compared_as_text_and_written_as_json() -> None:
    assert json.loads(included(b'{"\\u0061\\"":1,"b":2}', ('a"',))) == {'a"': 1}


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ((), "at least one path"),
        (("",), "'' is not a path"),
        (("a..b",), "is not a path"),
        (("a.",), "is not a path"),
        ((".".join("a" * (limits.INCLUDED_DEPTH + 1)),), "has more than 10 names"),
    ],
)
def test_paths_that_cannot_be_used_are_refused(paths: tuple[str, ...], words: str) -> None:
    assert words in "; ".join(path_problems(paths))


def test_many_paths_over_wide_data_leave_what_they_name() -> None:
    wide = json.dumps({"a": [{"b": {"c": number, "d": "x" * 50}} for number in range(1000)]}).encode()
    paths = (*(f"a.b.n{number}" for number in range(limits.INCLUDED - 1)), "a.b.c")
    assert json.loads(included(wide, paths)) == {"a": [{"b": {"c": number}} for number in range(1000)]}


def test_data_that_is_nested_deeply_fails() -> None:
    with pytest.raises(TransformFailed):
        included(b"[" * 100_000 + b"]" * 100_000, ("a",))
