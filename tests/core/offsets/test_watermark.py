"""The watermark: nothing unfinished is committed, and what finished above it survives a crash."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.offsets import watermark
from app.core.offsets.runs import Runs
from app.core.offsets.watermark import METADATA_LIMIT, OffsetWatermark, decode_finished, encode_finished


def decoded(low: int, text: str) -> set[int]:
    """The offsets that a commit's metadata tells."""
    return {offset for start, stop in decode_finished(low, text) for offset in range(start, stop)}


def test_commits_up_to_the_lowest_open_offset() -> None:
    mark = OffsetWatermark(5)
    for offset in range(5, 11):
        assert mark.opened(offset)
    for offset in (5, 7, 8, 10):
        mark.finished(offset)
    assert mark.committable == 6
    assert decoded(6, mark.metadata()) == {7, 8, 10}
    assert mark.open == 2
    mark.finished(6)
    assert mark.committable == 9


def test_offsets_in_the_metadata_are_not_processed_again() -> None:
    mark = OffsetWatermark(6, decode_finished(6, encode_finished(6, Runs([7, 8, 10]))))
    assert [offset for offset in range(6, 12) if mark.opened(offset)] == [6, 9, 11]
    for offset in (6, 9, 11):
        mark.finished(offset)
    assert mark.committable == 12 and mark.open == 0 and mark.metadata() == ""


def test_gaps_count_as_finished() -> None:
    mark = OffsetWatermark(0)
    mark.opened(0)
    mark.opened(5)
    mark.finished(5)
    assert mark.committable == 0
    mark.finished(0)
    assert mark.committable == 6


def test_a_log_that_begins_after_the_commit_has_no_gap() -> None:
    mark = OffsetWatermark(10)
    mark.opened(5_000_000)
    assert mark.committable == 5_000_000


def test_foreign_metadata_counts_as_none() -> None:
    assert decoded(0, "operator was here") == set()
    assert decoded(0, "1:!!!") == set()
    assert decoded(0, "") == set()


def test_finishing_twice_counts_once() -> None:
    mark = OffsetWatermark(0)
    mark.opened(0)
    mark.opened(1)
    mark.finished(1)
    mark.finished(1)
    assert mark.open == 1


@given(st.sets(st.integers(0, 100_000), max_size=300), st.integers(0, 1000))
def test_metadata_round_trip(done: set[int], low: int) -> None:
    done = {low + 1 + offset for offset in done}
    text = encode_finished(low, Runs(done))
    assert len(text) <= METADATA_LIMIT
    assert decoded(low, text) == done


def test_excess_metadata_keeps_the_lowest_runs_within_the_limit() -> None:
    done = {offset * 3 for offset in range(1, 20_000)}
    text = encode_finished(0, Runs(done))
    restored = decoded(0, text)
    assert len(text) <= METADATA_LIMIT
    assert restored and restored == {offset for offset in done if offset <= max(restored)}


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_never_commits_past_something_open(seed: int, steps: int) -> None:
    dice = random.Random(seed)
    mark, still = OffsetWatermark(0), set[int]()
    following = 0
    for _ in range(steps):
        if still and dice.random() < 0.5:
            offset = dice.choice(sorted(still))
            still.discard(offset)
            mark.finished(offset)
        else:
            following += dice.choice([0, 0, 0, 2])
            mark.opened(following)
            still.add(following)
            following += 1
        assert mark.committable == min(still, default=following)
        assert mark.open == len(still)


def test_finished_offsets_before_the_logs_beginning_are_forgotten() -> None:
    mark = OffsetWatermark(5, Runs({7, 8, 21}))
    assert mark.opened(20)
    assert decoded(mark.committable, mark.metadata()) == {21}
    mark.finished(20)
    assert not mark.opened(21)
    assert mark.committable == 22
    assert not OffsetWatermark(5, Runs({7, 8})).opened(8)


def test_markers_behind_the_last_record_are_passed_when_nothing_is_open() -> None:
    mark = OffsetWatermark(5, Runs({6}))
    assert mark.opened(5)
    assert not mark.opened(6)
    assert not mark.read_to(9), "5 is not finished"
    assert mark.committable == 5
    mark.finished(5)
    assert mark.committable == 7
    assert mark.read_to(9)
    assert (mark.committable, mark.next, mark.metadata()) == (9, 9, "")
    assert not mark.read_to(9) and not mark.read_to(3)
    assert mark.opened(9)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.randoms())
def test_no_record_is_lost_between_markers(entries: list[tuple[bool, bool]], dice: random.Random) -> None:
    """(is a record, a poll ends here) for each offset: only what is finished is committed, and in the end all of it."""
    mark, unfinished = OffsetWatermark(0), []
    for offset, (is_record, ends) in enumerate(entries):
        if is_record and mark.opened(offset):
            unfinished.append(offset)
        if ends:
            mark.read_to(offset + 1)
        if unfinished and dice.random() < 0.5:
            mark.finished(unfinished.pop(dice.randrange(len(unfinished))))
        assert mark.committable <= min(unfinished, default=len(entries))
    for offset in unfinished:
        mark.finished(offset)
    mark.read_to(len(entries))
    assert mark.committable == len(entries)


def test_the_cost_of_a_commit_is_bounded_by_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    varint = watermark._varint

    def counted(value: int) -> bytes:
        pieces.append(value)
        return varint(value)

    monkeypatch.setattr(watermark, "_varint", counted)
    mark = OffsetWatermark(0)
    for offset in range(200_000):
        mark.opened(offset)
        if offset:
            mark.finished(offset)
    mark.metadata()
    assert len(pieces) == 2, "one run above one slow request"
    mark.metadata()
    assert len(pieces) == 2, "nothing has changed"
    for offset in range(200_000, 400_000):
        mark.opened(offset)
        if offset % 2:
            mark.finished(offset)
    mark.metadata()
    assert len(pieces) < METADATA_LIMIT, "the rest has no room in it"
