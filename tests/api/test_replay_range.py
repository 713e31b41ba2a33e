"""Which span of the log was meant, and what of it is no longer there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.handlers.replay_range import TimeRange, messages, outcomes_messages
from app.core.model.replay import OldestRecord
from app.core.model.timestamps import BadTimeRange, iso, moment, span

NOW = 1_800_000_000_000
DAY = 86_400_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("now", NOW),
        ("begin", 0),
        (" Begin ", 0),
        ("90s", NOW - 90_000),
        ("2h", NOW - 7_200_000),
        ("3d", NOW - 3 * DAY),
        ("1w", NOW - 7 * DAY),
        ("250ms", NOW - 250),
        ("999999999w", 0),
        ("2026-01-31T08:00:00Z", 1_769_846_400_000),
        ("2026-01-31T10:00:00.250+02:00", 1_769_846_400_250),
        ("1969-12-31T23:00:00Z", 0),
    ],
)
def test_a_point_in_time_has_many_forms(text: str, found: int) -> None:
    assert moment(text, NOW) == found


@given(st.integers(0, 4_000_000_000_000))
def test_displayed_times_are_accepted_as_input(timestamp_ms: int) -> None:
    assert moment(iso(timestamp_ms), NOW) == timestamp_ms


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a point in time"),
        ("yesterday", "not a point in time"),
        ("-2h", "not a point"),
        ("2 h", "not a point"),
        ("2026-01-31T08:00:00", "no zone"),
        ("2026-13-01", "not a point"),
        ("1700000000", "not a point"),
    ],
)
def test_anything_else_is_refused_with_the_forms(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        moment(text, NOW)


@pytest.mark.parametrize(
    ("begin", "end", "field", "said"),
    [
        ("2099-01-01T00:00:00Z", "now", "from", "is in the future"),
        ("1h", "2h", "to", "2h is before 1h"),
        ("x", "now", "from", "not a point in time"),
        ("1h", "x", "to", "not a point in time"),
    ],
)
def test_an_invalid_time_range_names_the_field(begin: str, end: str, field: str, said: str) -> None:
    with pytest.raises(BadTimeRange, match=said) as caught:
        span(begin, end, NOW)
    assert caught.value.field == field


def test_a_span_may_end_in_the_future_and_may_be_empty() -> None:
    assert span("begin", "2099-01-01T00:00:00Z", NOW)[0] == 0
    assert span("1h", "1h", NOW) == (NOW - 3_600_000, NOW - 3_600_000)


WHOLE = {0: OldestRecord(0, NOW - 2 * DAY), 1: OldestRecord(0, None)}


def test_a_fully_retained_time_range_causes_no_warning() -> None:
    assert messages(TimeRange(NOW - DAY, NOW), WHOLE, NOW) == []
    assert messages(TimeRange(0, NOW), WHOLE, NOW) == [], "the beginning is where the log begins"


def test_a_span_that_begins_too_early_begins_with_the_oldest_record() -> None:
    assert messages(TimeRange(NOW - 3 * DAY, NOW), WHOLE, NOW) == [
        f"from {iso(NOW - 3 * DAY)} is before the oldest record kept, {iso(NOW - 2 * DAY)}: begins there"
    ]
    (said,) = messages(TimeRange(NOW - 9 * DAY, NOW - 8 * DAY), WHOLE, NOW)
    assert "to " in said and "there is nothing" in said
    (said,) = messages(TimeRange(0, NOW), {0: OldestRecord(5, None)}, NOW)
    assert said == "no record is kept at all: there is nothing to replay"


def test_a_span_that_ends_in_the_future_ends_now() -> None:
    (said,) = messages(TimeRange(NOW - DAY, NOW + DAY), WHOLE, NOW)
    assert said == f"to {iso(NOW + DAY)} is in the future: ends now, at {iso(NOW)}"


def test_a_warning_names_records_removed_by_retention() -> None:
    cut = {0: OldestRecord(9, NOW - DAY), 1: OldestRecord(0, NOW - 2 * DAY), 2: OldestRecord(4, NOW - 3 * DAY)}
    (said,) = messages(TimeRange(NOW - 2 * DAY, NOW), cut, NOW)
    assert (
        said.startswith("retention has removed events of this range from 1 of 3 partitions") and iso(NOW - DAY) in said
    )
    assert len(messages(TimeRange(0, NOW), cut, NOW)) == 1, "also from the beginning"
    assert messages(TimeRange(NOW - DAY, NOW), cut, NOW) == []


def test_deleted_attempts_are_warned_about_if_the_replay_needs_them() -> None:
    cut = {0: OldestRecord(9, NOW - DAY), 1: OldestRecord(3, None)}
    assert outcomes_messages(TimeRange(0, NOW), cut, "all") == []
    (failed,) = outcomes_messages(TimeRange(0, NOW), cut, "failed")
    assert iso(NOW - DAY) in failed and "are not found" in failed
    (missing,) = outcomes_messages(TimeRange(0, NOW), cut, "missing")
    assert "delivered again" in missing
    assert outcomes_messages(TimeRange(0, NOW), WHOLE, "missing") == []
