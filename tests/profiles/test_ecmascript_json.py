"""ecmajson against a table that was made by hand, and against Node itself."""

from __future__ import annotations

import inspect
import json
import math
import random
import struct
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import Unrepresentable
from app.profiles import ecmascript_json
from app.profiles.ecmascript_json import MAX_DEPTH, quote, stringify
from tests.receivers.launch import Oracle, oracle


@pytest.fixture(scope="module")
def node() -> Iterator[Oracle]:
    with oracle("stringify.js") as running:
        yield running


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b' { "a" : [ 1 , true , null ] } ', b'{"a":[1,true,null]}'),
        (b"[]", b"[]"),
        (b'[{},"",0]', b'[{},"",0]'),
        (b'"x"', b'"x"'),
        (b"1.0", b"1"),
        (b"0.0", b"0"),
        (b"-0", b"0"),
        (b"-0.0e5", b"0"),
        (b"100e-2", b"1"),
        (b"1E2", b"100"),
        (b"0.1000", b"0.1"),
        (b"0.30000000000000004", b"0.30000000000000004"),
        (b"0.1234567890123456789012345", b"0.12345678901234568"),
        (b"123456789.123456789012", b"123456789.12345679"),
        (b"1e20", b"100000000000000000000"),
        (b"123456789012345680000.0", b"123456789012345680000"),
        (b"1e21", b"1e+21"),
        (b"1.5e300", b"1.5e+300"),
        (b"1e-6", b"0.000001"),
        (b"-1.5e-6", b"-0.0000015"),
        (b"1e-7", b"1e-7"),
        (b"-12.5e-8", b"-1.25e-7"),
        (b"5e-324", b"5e-324"),
        (b"1.7976931348623157e308", b"1.7976931348623157e+308"),
        (b"9007199254740992", b"9007199254740992"),
        (b"-9007199254740994", b"-9007199254740994"),
        (b"1000000000000000000000000", b"1e+24"),
        (b'{"b":1,"2":2,"a":3,"1":4,"0":5}', b'{"0":5,"1":4,"2":2,"b":1,"a":3}'),
        (b'{"4294967295":1,"4294967294":2,"01":3,"1":4}', b'{"1":4,"4294967294":2,"4294967295":1,"01":3}'),
        (b'{"-1":1,"1.0":2,"1":3}', b'{"1":3,"-1":1,"1.0":2}'),
        (b'{"a":0,"\\u0031":1}', b'{"1":1,"a":0}'),
        ('{"a":0,"١":1}'.encode(), '{"a":0,"١":1}'.encode()),
        (b'{"a":1,"b":2,"a":3}', b'{"a":3,"b":2}'),
        (b'{"2":1,"a":1,"2":{"b":1}}', b'{"2":{"b":1},"a":1}'),
        (b'{"__proto__":{"x":1},"constructor":2,"":3}', b'{"__proto__":{"x":1},"constructor":2,"":3}'),
        (rb'"\u0041\/\b\t\n\f\r\"\\\u001F\u007f"', b'"A/\\b\\t\\n\\f\\r\\"\\\\\\u001f\x7f"'),
        (rb'"\uD83D\uDE00\u2028"', '"\U0001f600\u2028"'.encode()),
        (rb'["\uD800","\uDFFFx","\uDE00\uD83D"]', rb'["\ud800","\udfffx","\ude00\ud83d"]'),
        (rb'{"1":"\ud800\ud83d\ude00"}', b'{"1":"\\ud800\xf0\x9f\x98\x80"}'),
    ],
)
def test_writes_as_javascript_does(node: Oracle, raw: bytes, expected: bytes) -> None:
    assert stringify(raw) == expected
    assert json.loads(node.ask([raw.decode()])[0]).encode() == expected


@pytest.mark.parametrize(
    ("raw", "pointer", "detail"),
    [
        (b"9007199254740993", "", "the integer 9007199254740993 would become 9007199254740992 in JavaScript"),
        (b'{"a":[0,{"b":-12345678901234567890}]}', "/a/1/b", "would become -12345678901234567000 in"),
        (b'{"a/b~":[1e400]}', "/a~1b~0/0", "the number 1e400 is beyond JavaScript's range"),
        (b"[" + b"9" * 400 + b"]", "/0", "99999999999999999999… of 400 characters is beyond JavaScript's range"),
        (b"[2e-324]", "/0", "the number 2e-324 would become 0 in JavaScript"),
        (b'{"\\ud800":1e999}', "/\\ud800", "is beyond JavaScript's range"),
        (b'{"' + b"k" * 2000 + b'":1e999}', "", "is beyond JavaScript's range"),
        (b'{"k":9007199254740993,"k":1}', "/k", "would become"),
        (nested(MAX_DEPTH + 1), "", "nested more than 1000 deep"),
        (nested(100_000), "", "nested more than 1000 deep"),
        (b'{"a":' * 100_000, "", "nested more than 1000 deep"),
        (b"", "", "not JSON: a value expected before character 0"),
        (b"[1,2", "", "not JSON: a comma or ] expected before character 4"),
        (b"[1,]", "", "not JSON: a value expected"),
        (b'{"a":1,}', "", "not JSON: a key expected"),
        (b'{"a" 1}', "", "not JSON: a colon expected"),
        (b"{a:1}", "", "not JSON: a key expected"),
        (b"[1}", "", "not JSON: a comma or ] expected"),
        (b"{} x", "", "not JSON: the end expected"),
        (b"01", "", "not JSON: the end expected"),
        (b"-", "", "not JSON: a value expected"),
        (b"1.", "", "not JSON: the end expected"),
        (b"NaN", "", "not JSON: a value expected"),
        (b"[-Infinity]", "", "not JSON: a value expected"),
        (rb'"\x"', "", "not JSON: a string with valid escapes expected"),
        (rb'"\u12g4"', "", "not JSON: a string with valid escapes expected"),
        (b'"\n"', "", "not JSON: a value expected"),
        (b"\xef\xbb\xbf{}", "", "not JSON: a value expected"),
        (b"\xa01", "", "not JSON: byte 0 is not UTF-8"),
        (b'"\xed\xa0\x80"', "", "not JSON: byte 1 is not UTF-8"),
    ],
)
def test_refuses_what_would_change(raw: bytes, pointer: str, detail: str) -> None:
    with pytest.raises(Unrepresentable) as caught:
        stringify(raw)
    assert caught.value.pointer == pointer
    assert detail in caught.value.detail


def test_depth_up_to_the_bound_and_many_shallow_containers() -> None:
    deep, wide = nested(MAX_DEPTH), b"[" + b",".join([b'["[[",{}]'] * 2000) + b"]"
    assert stringify(deep) == deep
    assert stringify(wide) == wide


def test_the_callers_stack_does_not_matter() -> None:
    document = nested(400)

    def call(frames: int) -> bytes:
        return call(frames - 1) if frames else stringify(document)

    assert call(sys.getrecursionlimit() - len(inspect.stack(0)) - 60) == document


@pytest.mark.parametrize(
    "raw",
    [
        b'"' * 250_000,
        b'"' + b'\\"' * 125_000,
        b" " * 250_000,
        b'["1"' * 60_000,
        b'["1"' + b" " * 250_000,
        b"1" * 250_000,
    ],
)
def test_hostile_input_of_full_size_is_refused_in_time(raw: bytes) -> None:
    with pytest.raises(Unrepresentable):
        stringify(raw)


def test_quote_needs_no_valid_unicode() -> None:
    assert quote('é"\\\n\x01\ud800') == b'"\xc3\xa9\\"\\\\\\n\\u0001\\ud800"'


# --- against Node ---------------------------------------------------------------------------------------------------

_space = st.sampled_from(["", "", "", " ", "\n", "\t\r "])
_character = st.one_of(
    st.characters(exclude_characters='"\\', exclude_categories=["Cs"], min_codepoint=0x20),
    st.sampled_from([r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", "\u2028", "\x7f", "\U0001f600"]),
    st.integers(0, 0xFFFF).map(lambda unit: f"\\u{unit:04x}"),
    st.integers(0xD800, 0xDFFF).map(lambda unit: f"\\u{unit:04X}"),
)
_string = st.lists(_character, max_size=6).map(lambda parts: f'"{"".join(parts)}"')
_index = st.one_of(
    st.integers(0, 12), st.integers(2**32 - 4, 2**32 + 2), st.sampled_from(["00", "01", "-1", "1.0", r"\u0031"])
)
_key = st.one_of(
    _string, _index.map(lambda key: f'"{key}"'), st.sampled_from(['"a"', '"b"', '"__proto__"', '"toJSON"', '""'])
)
_literal = st.one_of(
    st.integers(-20, 20).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
)
_leaf = st.one_of(_literal, _string, st.sampled_from(["true", "false", "null"]))


def _containers(value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    item = st.tuples(_space, value, _space).map("".join)
    member = st.tuples(_space, _key, _space, st.just(":"), item).map("".join)
    return st.one_of(
        st.lists(item, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.lists(member, max_size=5).map(lambda members: f"{{{','.join(members)}}}"),
    )


_document = st.recursive(_leaf, _containers, max_leaves=12)
_damaged = st.tuples(_document, st.integers(0, 200), st.sampled_from(list('"\\{}[],:0.-eE+tu \x00\ufeff'))).map(
    lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
)


def agree(node: Oracle, texts: list[str]) -> None:
    """Whatever is accepted has Node's bytes; what Node cannot parse is refused; so is what loses a number."""
    for text, answer in zip(texts, node.ask(texts), strict=True):
        theirs = json.loads(answer)
        try:
            ours = stringify(text.encode())
        except Unrepresentable as error:
            if theirs is not None:
                assert not error.detail.startswith("not JSON"), (text, error.detail)
                assert _loses_a_number(text), (text, error.detail)
        else:
            assert theirs is not None, text
            assert ours == theirs.encode(), text
            assert ecmascript_json._exact(text).encode("utf-8", "backslashreplace") == ours, text


def _loses_a_number(text: str) -> bool:
    lost = []

    def integer(literal: str) -> None:
        if abs(int(literal)) > 2**53:
            lost.append(literal)

    def double(literal: str) -> None:
        if float(literal) in (0.0, float("inf"), float("-inf")):
            lost.append(literal)

    json.loads(text, parse_int=integer, parse_float=double)
    return bool(lost)


@settings(max_examples=150, deadline=None)
@given(st.lists(_document, min_size=1, max_size=20))
def test_documents_as_node_writes_them(node: Oracle, texts: list[str]) -> None:
    agree(node, texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(_damaged, min_size=1, max_size=20))
def test_damaged_documents_as_node_reads_them(node: Oracle, texts: list[str]) -> None:
    agree(node, texts)


def test_doubles_of_every_size_as_node_writes_them(node: Oracle) -> None:
    dice = random.Random(20_250_115)
    patterns = [dice.getrandbits(64) for _ in range(20_000)]
    doubles = [struct.unpack("<d", struct.pack("<Q", pattern))[0] for pattern in patterns]
    doubles += [dice.uniform(-1, 1) * 10 ** dice.randint(-10, 25) for _ in range(20_000)]
    doubles += [sign * 10.0**power for power in range(-323, 309) for sign in (1, -1)]
    texts = [repr(each) for each in doubles if math.isfinite(each)]
    assert len(texts) > 40_000
    agree(node, texts)


def test_integers_around_every_power_of_two_and_ten(node: Oracle) -> None:
    powers = [2**n for n in range(80)] + [10**n for n in range(40)]
    texts = [str(power + shift) for power in powers for shift in (-2, -1, 0, 1, 2)]
    agree(node, texts)
    written = {text: _written(text) for text in texts}
    assert all(form is None or form == text or Decimal(form) == int(text) for text, form in written.items())
    assert all(written[text] == text for text in texts if abs(int(text)) <= 2**53)
    assert None in written.values()


def _written(text: str) -> str | None:
    try:
        return stringify(text.encode()).decode()
    except Unrepresentable:
        return None
