"""The pace of commits."""

from __future__ import annotations

import pytest

from app.core.offsets.commit_pace import MANY, RARELY_S, SOON_S, CommitPace


def test_first_records_are_committed_at_once() -> None:
    pace = CommitPace()
    pace.finished()
    assert pace.is_due(1000.0)


@pytest.mark.parametrize(("records", "due"), [(1, False), (MANY - 1, False), (MANY, True)])
def test_few_records_wait_for_the_interval(records: int, due: bool) -> None:
    pace = CommitPace()
    pace.committing(1000.0)
    for _ in range(records):
        pace.finished()
    assert pace.is_due(1000.0 + SOON_S) is due
    assert pace.is_due(1000.0 + RARELY_S)


def test_the_count_begins_anew_with_each_commit() -> None:
    pace = CommitPace()
    pace.finished(MANY)
    pace.committing(1000.0)
    pace.finished()
    assert not pace.is_due(1000.0 + SOON_S)


def test_a_batch_counts_with_all_its_records() -> None:
    pace = CommitPace()
    pace.committing(1000.0)
    pace.finished(MANY)
    assert pace.is_due(1000.0)
