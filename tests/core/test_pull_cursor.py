"""Cursors of pull endpoints: they come back as they were, and anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.pull_cursor import BadCursor, LogPosition, cursor_text, read_cursor


@given(partition=st.integers(0, 2**32 - 1), offset=st.integers(0, 2**63 - 1), endpoint=st.text(max_size=128))
def test_a_cursor_comes_back(partition: int, offset: int, endpoint: str) -> None:
    endpoint = endpoint.encode("utf-8", "replace").decode()
    position = LogPosition(partition, offset)
    assert read_cursor(endpoint, cursor_text(endpoint, position)) == position


@given(text=st.text(max_size=60))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        read_cursor("ep_1", text)


def test_a_cursor_of_another_endpoint_a_version_and_an_impossible_offset_are_refused() -> None:
    cursor = cursor_text("ep_1", LogPosition(3, 7))
    with pytest.raises(BadCursor, match="another endpoint"):
        read_cursor("ep_2", cursor)
    for changed in ("/" + cursor[1:], "Ag" + cursor[2:], cursor[:-12] + "_" * 12):
        with pytest.raises(BadCursor):
            read_cursor("ep_1", changed)
