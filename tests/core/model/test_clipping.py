"""What is cut fits its budget once it is encoded, is a beginning of what it was, and is not cut without need."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model.clipping import clip, clip_headers, json_size

#: one byte, escapes of two and six bytes, two to four bytes of UTF-8, and half a character
HOSTILE = st.sampled_from(["a", '"', "\\", "\n", "\x00", "\x7f", "é", "\u2028", "\ufffd", "😀", "\ud800", "\udcff"])
TEXT = st.text(HOSTILE, max_size=200) | st.text(max_size=200)


@given(TEXT, st.integers(0, 300))
def test_a_text_fits_and_the_next_character_would_not(text: str, budget: int) -> None:
    short = clip(text, budget)
    assert json_size(short) <= budget and len(short.encode()) <= budget
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert whole.startswith(short)
    assert short == whole or json_size(whole[: len(short) + 1]) > budget


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\x00" * 10_000_000])
def test_a_long_text_is_not_encoded_whole(text: str) -> None:
    assert json_size(clip(text, 1000)) in range(995, 1001)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=40), st.integers(10, 2000))
def test_headers_fit_together(headers: list[tuple[str, str]], total: int) -> None:
    clipped, cut = clip_headers(headers, entries=20, name=20, value=100, total=total)
    assert len(msgspec.json.encode(clipped)) <= total + 2
    assert len(clipped) <= 20
    assert cut or clipped == dict(headers)


def test_headers_that_fit_are_left_alone() -> None:
    headers = [("a", "1"), ("b", "ü"), ("a", "2")]
    assert clip_headers(headers, entries=3, name=9, value=9, total=100) == ({"a": "2", "b": "ü"}, False)
