"""What has happened to a log that cannot be read on, and from where on it is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.offsets.log_moves import STAMP_LENGTH, judge, stamp, unstamp

OFFSETS = st.integers(0, 1000)
LOG = "2db5b40069d840bb8192135611259304"


def test_reading_continues_at_a_later_beginning() -> None:
    move = judge(3, 10, 20, same=True)
    assert move is not None and (move.kind, move.resume) == ("beginning_lost", 10)
    assert "deliveries, partition 2 begins at 10, behind the committed offset 3" in move.sentence("deliveries", 2)


def test_reading_continues_at_an_earlier_end() -> None:
    move = judge(30, 10, 20, same=True)
    assert move is not None and (move.kind, move.resume) == ("end_lost", 20)


def test_another_log_is_read_from_its_beginning() -> None:
    for position in (0, 5, 500):
        move = judge(position, 0, 20, same=False)
        assert move is not None and (move.kind, move.resume) == ("made_again", 0)


def test_without_an_id_a_moved_log_is_read_again() -> None:
    move = judge(30, 10, 20, same=None)
    assert move is not None and (move.kind, move.resume) == ("shorter", 10)
    assert judge(15, 10, 20, same=None) is None


@given(OFFSETS, OFFSETS, OFFSETS, st.sampled_from([True, False, None]))
def test_reading_continues_within_the_log_and_skips_nothing_unfinished(
    position: int, one: int, other: int, same: bool | None
) -> None:
    begin, end = sorted((one, other))
    move = judge(position, begin, end, same=same)
    at = position if move is None else move.resume
    assert begin <= at <= end
    if same is not True:
        assert at <= max(position, begin)


@given(st.text(max_size=50))
def test_a_stamp_is_removed_as_it_was_added(metadata: str) -> None:
    assert unstamp(stamp(LOG, metadata)) == (LOG, metadata)
    assert len(stamp(LOG, metadata)) <= STAMP_LENGTH + len(metadata)


def test_metadata_without_a_stamp_is_unchanged() -> None:
    assert unstamp("1:abc=") == ("", "1:abc=")
    assert stamp("", "1:abc=") == "1:abc="
