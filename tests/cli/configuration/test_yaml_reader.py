"""YAML within bounds: what is read, and which hostile files are refused with a line and a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.cli.configuration import yaml_reader
from app.cli.configuration.writer import dumped
from app.cli.configuration.yaml_reader import BadYaml, read_yaml


def only(text: str | bytes) -> Any:
    ((document, _),) = read_yaml(text if isinstance(text, bytes) else text.encode())
    return document


def refused(text: str | bytes) -> tuple[int, str]:
    with pytest.raises(BadYaml) as caught:
        list(read_yaml(text if isinstance(text, bytes) else text.encode()))
    return caught.value.line, caught.value.sentence


def test_scalars_are_those_of_json_and_the_rest_is_text() -> None:
    text = "[null, ~, '', true, False, 12, -3, 1.5, 1e3, no, on, 12:30, 2026-01-31, 007, 0x1f, .inf, '5', ep, 1_000]"
    assert only(text) == [
        *(None, None, "", True, False, 12, -3, 1.5, 1000.0),
        *("no", "on", "12:30", "2026-01-31", "007", "0x1f", ".inf", "5", "ep", "1_000"),
    ]
    assert only("!!str 5") == "5" and only("a: |\n  x\n  y\n") == {"a": "x\ny\n"}
    assert only("on: 1\n5: 2\nnull: 3") == {"on": 1, "5": 2, "null": 3}


def test_values_remember_their_lines() -> None:
    document = only("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n")
    assert document.lines == {"a": 1, "b": 2}
    assert document["b"].lines == [3, 4] and document["b"][1].lines == {"c": 4, "d": 5}
    assert [line for _, line in read_yaml(b"a: 1\n---\nb: 2\n")] == [1, 3]


def test_anchors_and_merge_keys_spare_repetition() -> None:
    document = only("x: &base {a: 1, b: [2]}\ny: {<<: *base, a: 3}\nz: {<<: [*base, {c: 4}], d: *base}\n")
    assert document["y"] == {"a": 3, "b": [2]}
    assert document["z"] == {"a": 1, "b": [2], "c": 4, "d": {"a": 1, "b": [2]}}
    assert document["y"].lines["b"] == 1


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' occurs twice, first in line 1"),
        ("a: {b: 1, b: 2}", 1, "'b' occurs twice, first in line 1"),
        ("a: [", 2, "did not find expected node content"),
        ("a: !!python/object/apply:os.system [x]", 1, "the tag tag:yaml.org,2002:python/object/apply:os.system is not"),
        ("a: !!binary aGk=", 1, "the tag tag:yaml.org,2002:binary is not allowed"),
        ("a: !env X", 1, "the tag !env is not allowed"),
        ("? [1]\n: 2", 1, "a key must be text"),
        ("a: &a [1]\n*a : 2", 2, "a key must be text"),
        ("a: *b", 1, "*b has no anchor &b before it"),
        ("a: &a [*a]", 1, "*a stands inside of what it repeats"),
        ("a: &a\n  b: {c: *a}", 2, "*a stands inside of what it repeats"),
        ("<<: 1", 1, "<< needs a mapping"),
        ("a: 1e999", 1, "1e999 is no number that JSON can hold"),
        (b"a: 1\nb: \xff", 2, "is not UTF-8 text"),
        ("a: \x00", 0, "control characters are not allowed"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(text: str | bytes, line: int, sentence: str) -> None:
    at, words = refused(text)
    assert at == line and sentence in words


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_is_bounded(opening: str) -> None:
    line, words = refused(opening * 100_000)
    assert line == 1 and words in ("is nested more than 100 levels deep", "a key must be text")


def test_nesting_through_aliases_is_bounded() -> None:
    lines = ["a0: &a0 [x]", *(f"a{number}: &a{number} [*a{number - 1}]" for number in range(1, 200))]
    assert "nested more than 100" in refused("\n".join(lines))[1]


def test_a_bomb_of_aliases_is_counted_written_out() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{number}: &a{number} [{','.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 12)]
    line, words = refused("\n".join(lines))
    assert line < 9 and "has more than 2,000,000 values, aliases written out" in words


def test_the_size_of_a_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "FILE_BYTES", 1024 * 1024)
    assert refused(b"#" * (1024 * 1024 + 1)) == (0, "the file is larger than 1 MiB")
    monkeypatch.setattr(yaml_reader, "VALUES", 100)
    assert "more than 100 values" in refused("[" + "x," * 200 + "]")[1]


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from(["no", "on", "1e3", "0x1f", "2026-01-31", "12:30", "~", "=", "<<", "a: b", "# c", "- d", "007"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_what_is_written_is_read_back(value: Any) -> None:
    if "<<" in str(value):
        return  # a key of that name is quoted, and still merges
    assert only(dumped({"value": value})) == {"value": value}


def test_what_other_readers_of_yaml_see_is_the_same() -> None:
    value = {"a": ["no", "1e3", "x", 5, 1.5, None, True, "2026-01-31", "12:30"], "b": {"c": ""}}
    assert yaml.safe_load(dumped(value)) == value
