"""Hidden values: what the paths name is gone, all else keeps its bytes, and hostile data has a bounded cost."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from app.core import limits
from app.core.records.raw_event import data_of
from app.core.transforms.redacted_fields import HIDDEN, redacted, redacted_body


@pytest.mark.parametrize(
    ("data", "paths", "shown"),
    [
        ('{"a":{"b":1,"c":2.50}}', ["a.b"], '{"a":{"b":"[redacted]","c":2.50}}'),
        ('[{"a":1},{"b":2},3]', ["a"], '[{"a":"[redacted]"},{"b":2},3]'),
        ('{"list":[[{"a":{"x":1}}]]}', ["list.a"], '{"list":[[{"a":"[redacted]"}]]}'),
        ('{"a":{"b":1}}', ["a", "a.b"], '{"a":"[redacted]"}'),
        ('{"a":{"b":1}}', ["a.b", "a"], '{"a":"[redacted]"}'),
        ('{"a":null}', ["a"], '{"a":"[redacted]"}'),
        ('{"a":1}', ["b", "a.b", "A"], '{"a":1}'),
        ('{"\\u0061":1,"a":2}', ["a"], '{"a":"[redacted]"}'),
        ('{"*":1,"a":{"b":2}}', ["*", "*.b", "$..b"], '{"*":"[redacted]","a":{"b":2}}'),
        ('"plain"', ["a"], '"plain"'),
        ("null", ["a"], "null"),
        (' {"a" : 1}', [], ' {"a" : 1}'),
    ],
)
def test_paths_are_names_and_hide_whole_values(data: str, paths: list[str], shown: str) -> None:
    assert redacted(data.encode(), paths).decode() == shown


@pytest.mark.parametrize("data", [b"nope", b'{"a":1', b"\xff", b"", b"[" * 200_000, b'{"a":' * 100_000])
def test_what_cannot_be_read_is_hidden_as_a_whole(data: bytes) -> None:
    assert json.loads(redacted(data, ["a"])) == HIDDEN


def test_a_value_too_deep_is_hidden_whether_a_path_reaches_it_or_not() -> None:
    deep = b"[" * 300 + b'{"card":4242}' + b"]" * 300
    assert b"4242" not in redacted(deep, ["card"])
    names = ["n"] * limits.INCLUDED_DEPTH
    value: Any = 4242
    for name in names:
        value = {name: [value]}
    assert b"4242" not in redacted(json.dumps(value).encode(), [".".join(names)])


def test_many_paths_over_a_huge_value_are_hidden_in_one_pass() -> None:
    data = json.dumps([{f"f{number}": {"x": "secret"} for number in range(100)} for _ in range(200)]).encode()
    paths = [f"f{number}.x" for number in range(limits.REDACTED)]
    assert b"secret" not in redacted(data, paths)
    assert json.loads(redacted(data, [f"g{number}" for number in range(10_000)])) == json.loads(data)


def test_events_of_all_formats_are_hidden_alike() -> None:
    data = {"card": 4242, "n": 1}
    native = json.dumps({"type": "a.b", "metadata": {"m": 1}, "data": data}).encode()
    structured = json.dumps({"specversion": "1.0", "id": "1", "source": "s", "type": "a.b", "data": data}).encode()
    packed = b64encode(json.dumps(data).encode()).decode()
    in_base64 = json.dumps({"specversion": "1.0", "id": "1", "source": "s", "type": "a.b", "data_base64": packed})
    bodies = (("native", native), ("ce-structured", structured), ("ce-structured", in_base64.encode()))
    for kind, body in (*bodies, ("ce-binary", json.dumps(data).encode())):
        shown = redacted_body(body, kind, ["card"])
        assert json.loads(data_of(shown, kind)) == {"card": HIDDEN, "n": 1}  # type: ignore[arg-type]
        assert redacted_body(body, kind, []) is body
    shown = redacted_body(in_base64.encode(), "ce-structured", ["card"])
    assert b"4242" not in b64decode(json.loads(shown)["data_base64"])
    assert b"4242" not in redacted_body(b'{"data": 4242', "native", ["card"])
