"""Positions: a group that was reset replays what it had processed, and a worker that crashed only goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.roles.fanout.reset_detection import ReadPosition, advance, begin, read, replay_of, write

GROUP = "hookstream.fanout"
KNOWN = ReadPosition(high=120)


def reset(known: ReadPosition | None, start: int, partition: int = 0, group: str = GROUP) -> ReadPosition:
    return begin(known, group, partition, start, was_reset=True)


def crashed(known: ReadPosition | None, start: int) -> ReadPosition:
    return begin(known, GROUP, 0, start, was_reset=False)


@pytest.mark.parametrize("was_reset", [False, True])
def test_the_first_read_of_a_partition_is_not_a_replay(was_reset: bool) -> None:
    assert begin(None, GROUP, 0, 50, was_reset=was_reset) == ReadPosition(high=50)


@pytest.mark.parametrize("start", [0, 40, 119, 120, 500])
def test_reading_from_our_own_commit_is_redelivery(start: int) -> None:
    assert crashed(KNOWN, start) == KNOWN
    assert not any(replay_of(KNOWN, offset) for offset in range(600))


@pytest.mark.parametrize("start", [0, 40, 119])
def test_a_reset_replays_up_to_the_former_position(start: int) -> None:
    position = reset(KNOWN, start)
    assert position.replay_id.startswith("rpl_")
    assert {replay_of(position, offset) for offset in range(start, 120)} == {position.replay_id}
    assert {replay_of(position, offset) for offset in range(120, 200)} == {""}


@pytest.mark.parametrize("start", [120, 121, 500])
def test_a_reset_to_unprocessed_offsets_is_no_replay(start: int) -> None:
    assert reset(KNOWN, start) == KNOWN


def test_the_same_reset_has_the_same_id_and_any_other_has_another() -> None:
    ids = [
        reset(KNOWN, 40).replay_id,
        reset(KNOWN, 41).replay_id,
        reset(KNOWN, 40, partition=1).replay_id,
        reset(KNOWN, 40, group="other").replay_id,
        reset(ReadPosition(high=121), 40).replay_id,
    ]
    assert len(set(ids)) == len(ids)
    # Deliveries under way carry what it leads to: another derivation would make a repeated fan-out double.
    assert reset(KNOWN, 40).replay_id == ids[0] == "rpl_7g2ae2hq2msx3jx6fshcp6i2"


@pytest.mark.parametrize(("next_offset", "start"), [(70, 60), (120, 60), (150, 90), (150, 130)])
def test_fan_out_continues_a_replay_after_a_crash(next_offset: int, start: int) -> None:
    begun = reset(KNOWN, 40)
    again = crashed(advance(begun, next_offset), start)
    for offset in range(start, 200):
        assert replay_of(again, offset) == replay_of(begun, offset)


def test_a_crash_before_the_first_commit_detects_the_same_reset_again() -> None:
    begun = reset(KNOWN, 40)
    assert reset(advance(begun, 70), 40) == begun


def test_a_reset_within_a_replay_is_another_replay_with_the_same_end() -> None:
    first = reset(KNOWN, 40)
    second = reset(advance(first, 70), 20)
    assert second.replay_until == first.replay_until == 120
    assert second.replay_id != first.replay_id


def test_a_later_reset_replays_what_came_after_the_first_too() -> None:
    later = reset(advance(reset(KNOWN, 40), 300), 40)
    assert (later.replay_until, replay_of(later, 299)) == (300, later.replay_id)


def test_the_highest_offset_never_goes_back() -> None:
    assert advance(KNOWN, 121) == ReadPosition(high=121)
    assert advance(KNOWN, 95) == KNOWN


OFFSETS = st.integers(0, 2**62)


@given(st.builds(ReadPosition, high=OFFSETS, replay_id=st.text(max_size=30), replay_until=OFFSETS))
def test_a_delivery_is_decoded_as_it_was_encoded(position: ReadPosition) -> None:
    assert read(write(position)) == position


@pytest.mark.parametrize(
    "stored", [None, b"", b"\xff", b"[]", b"{}", b'{"high":"1"}', b'{"high":-1}', b'{"high":1' + b"0" * 30 + b"}"]
)
def test_an_unreadable_position_counts_as_unknown(stored: bytes | None) -> None:
    assert read(stored) is None


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans(), st.integers(0, 20)), min_size=1, max_size=15))
def test_without_a_reset_there_is_never_a_replay(steps: list[tuple[int, bool, int]]) -> None:
    position, committed, following = crashed(None, 0), 0, 0
    for batch, crash, lag in steps:
        following += batch
        committed = max(committed, following - lag)
        position = advance(position, following)
        if crash:
            position, following = crashed(read(write(position)), committed), committed
        assert position.replay_id == ""
