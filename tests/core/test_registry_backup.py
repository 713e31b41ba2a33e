"""The file of a backup, as written and as damaged."""

from __future__ import annotations

import re

import pytest

from app.core.errors import ConfigError
from app.core.model.tenant import Tenant
from app.core.records.registry import encode as encode_entity
from app.core.registry_backup import decode, encode

RECORDS = {
    f"tenant/{name}".encode(): encode_entity(Tenant(id=name, profile="standard")) or b"" for name in ("acme", "müller")
} | {b"kind-of-a-later-version/x": b"[1]"}


def lines() -> list[bytes]:
    """A whole file."""
    return list(encode(RECORDS, "registry", "2026-11-27T00:00:00Z"))


def test_what_is_restored_is_what_was_saved() -> None:
    assert decode(lines()) == RECORDS
    assert list(decode(lines())) == list(RECORDS)
    assert decode(list(encode({}, "registry", "now"))) == {}


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [
        ([], "it has no end"),
        (lines()[:-1], "it has no end"),
        (lines()[:2], "it has no end"),
        ([b"\x00\xff" * 10], "line 1"),
        ([b"{}"], "line 1"),
        ([lines()[0].replace(b'"hookstream_backup":1', b'"hookstream_backup":2'), *lines()[1:]], "format 2 is not 1"),
        ([lines()[0], lines()[1], lines()[1], *lines()[3:]], "occurs twice"),
        ([lines()[0], lines()[1].replace(b"acme", b"acmf"), *lines()[2:]], "the checksum differs"),
        ([lines()[0], lines()[1].replace(b"tenant/acme", b"tenant/acmf"), *lines()[2:]], "belongs to acme"),
        ([*lines(), b"{}"], "it follows the end"),
        ([b"[" * 100_000], "line 1"),
        ([b'{"hookstream_backup":1,' + b" " * 17_000_000], "too long"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(damaged: list[bytes], problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        decode(damaged)
