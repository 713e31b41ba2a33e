"""What has happened to a log that cannot be read on, and from where on it is read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.offsets.log_moves import STAMP_LENGTH, judge, stamp, unstamp

OFFSETS = st.integers(0, 1000)
LOG = "2db5b40069d840bb8192135611259304"


def test_a_lost_beginning_is_passed() -> None:
    move = judge(3, 10, 20, same=True)
    assert move is not None and (move.kind, move.resume) == ("beginning_lost", 10)
    assert "deliveries, partition 2 begins at 10, behind the committed offset 3" in move.sentence("deliveries", 2)


def test_a_lost_end_is_where_work_goes_on() -> None:
    move = judge(30, 10, 20, same=True)
    assert move is not None and (move.kind, move.resume) == ("end_lost", 20)


def test_another_log_is_read_from_its_beginning() -> None:
    for position in (0, 5, 500):
        move = judge(position, 0, 20, same=False)
        assert move is not None and (move.kind, move.resume) == ("made_again", 0)


def test_where_nobody_can_tell_nothing_is_left_out() -> None:
    move = judge(30, 10, 20, same=None)
    assert move is not None and (move.kind, move.resume) == ("shorter", 10)
    assert judge(15, 10, 20, same=None) is None


@given(OFFSETS, OFFSETS, OFFSETS, st.sampled_from([True, False, None]))
def test_reading_goes_on_within_the_log_and_never_passes_over_what_is_not_known_to_be_done(
    position: int, one: int, other: int, same: bool | None
) -> None:
    begin, end = sorted((one, other))
    move = judge(position, begin, end, same=same)
    at = position if move is None else move.resume
    assert begin <= at <= end
    if same is not True:
        assert at <= max(position, begin)


@given(st.text(max_size=50))
def test_a_stamp_comes_off_as_it_went_on(metadata: str) -> None:
    assert unstamp(stamp(LOG, metadata)) == (LOG, metadata)
    assert len(stamp(LOG, metadata)) <= STAMP_LENGTH + len(metadata)


def test_what_has_no_stamp_is_left_as_it_is() -> None:
    assert unstamp("1:abc=") == ("", "1:abc=")
    assert stamp("", "1:abc=") == "1:abc="
