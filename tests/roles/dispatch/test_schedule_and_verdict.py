"""Retries: what an answer means, when the next attempt is due, and in which rung it waits."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model.http_exchange import HttpFailure, HttpFailureKind, HttpOutcome, HttpReply, HttpTiming
from app.core.topics.names import RUNGS, rung_for
from app.profiles.catalog import PROFILES
from app.profiles.policy import RetryPolicy
from app.roles.dispatch.schedule import RETRY_AFTER_CAP_S, delay_s, due_at_ms, retry_after_s
from app.roles.dispatch.verdict import Dead, Delivered, RetryAt, Verdict, judge, result_of

#: Wed, 21 Oct 2015 07:28:00 GMT
MOMENT_MS = 1_445_412_480_000
NOW_MS = MOMENT_MS - 100_000
DAY_S = 86_400.0
SCHEDULE = (0.0, 60.0, 300.0)
DICE = st.floats(0, 1, exclude_max=True)


def reply(status: int, retry_after: str | None = None) -> HttpReply:
    headers = (("Retry-After", retry_after),) if retry_after is not None else ()
    return HttpReply(status=status, headers=headers, body=b"", truncated=False, timing=HttpTiming())


def refusal(kind: HttpFailureKind) -> HttpFailure:
    return HttpFailure(kind=kind, detail="it did not answer", timing=HttpTiming())


def judged(
    outcome: HttpOutcome, attempt: int = 1, *, gone_410: bool = True, scale: float = 1, dice: float = 0
) -> Verdict:
    policy = RetryPolicy(schedule_s=SCHEDULE, gone_410=gone_410, scale=scale)
    return judge(outcome, attempt=attempt, policy=policy, now_ms=NOW_MS, dice=dice)


# --- when ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attempts", "delay"), [(0, 0.0), (1, 60.0), (2, 300.0), (3, None), (4, None)])
def test_the_schedule_says_how_long_to_wait(attempts: int, delay: float | None) -> None:
    assert delay_s(SCHEDULE, attempts) == delay


@pytest.mark.parametrize(
    ("profile", "delays"),
    [
        ("standard", [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400, None]),
        ("bota", [0, 60, 300, 1800, 7200, 28800, None]),
        ("efficlose", [0, 60, 300, 1800, 7200, None]),
        ("voxscriber", [0, 60, 300, 1800, 7200, None]),
    ],
)
def test_the_products_schedules_are_as_documented(profile: str, delays: list[float | None]) -> None:
    assert [delay_s(PROFILES[profile].schedule_s, attempts) for attempts in range(len(delays))] == delays


def test_recall_tries_for_a_day_with_growing_delays() -> None:
    schedule = PROFILES["recall"].schedule_s
    assert schedule[0] == 0 and list(schedule) == sorted(schedule)
    assert sum(schedule) >= 0.8 * DAY_S and sum(schedule) * 1.1 <= DAY_S  # jitter included


@given(st.integers(0, 7 * 86_400_000), DICE)
def test_an_attempt_is_never_early_and_at_most_a_tenth_late(delay_ms: int, dice: float) -> None:
    wait = due_at_ms(NOW_MS, delay_ms / 1000, scale=1, dice=dice) - NOW_MS
    assert delay_ms <= wait <= delay_ms * 1.1 + 1


@given(st.floats(0, 7 * DAY_S), st.floats(0.001, 10), DICE, st.floats(0, 2 * DAY_S))
def test_retry_after_only_pushes_later_and_is_not_scaled(delay: float, scale: float, dice: float, asked: float) -> None:
    without = due_at_ms(NOW_MS, delay, scale=scale, dice=dice)
    given_ = due_at_ms(NOW_MS, delay, scale=scale, dice=dice, retry_after_s=asked)
    assert given_ >= without
    assert given_ - NOW_MS >= min(asked, DAY_S) * 1000 - 1
    assert given_ in (without, due_at_ms(NOW_MS, min(asked, DAY_S), scale=1, dice=dice))


@pytest.mark.parametrize(
    ("delay", "scale", "retry_after", "dice", "wait_s"),
    [
        (60, 1, None, 0, 60),
        (60, 1, None, 0.5, 63),
        (60, 0.01, None, 0, 0.6),
        (60, 1, 30, 0, 60),
        (60, 1, 90, 0, 90),
        (60, 0.01, 30, 0, 30),
        (60, 1, 1e9, 0, DAY_S),
        (2 * DAY_S, 1, 1e9, 0, 2 * DAY_S),
        (0, 1, None, 0.99, 0),
    ],
)
def test_the_due_time_adds_delay_jitter_and_retry_after(
    delay: float, scale: float, retry_after: float | None, dice: float, wait_s: float
) -> None:
    due = due_at_ms(NOW_MS, delay, scale=scale, dice=dice, retry_after_s=retry_after)
    assert due - NOW_MS == round(wait_s * 1000)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 120\t", 120),
        ("86400", DAY_S),
        ("86401", DAY_S),
        ("9" * 400, DAY_S),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 100),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 100),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 100),
        ("Wed, 21 Oct 2015 07:26:19 GMT", 0),  # in the past
        ("Sun, 21 Oct 2035 07:28:00 GMT", DAY_S),
        ("-5", None),
        ("+5", 5),
        ("60.5", 60.5),
        ("60.", 60),
        ("2015-10-21T07:28:00Z", 100),
        ("2015-10-21t09:28:00.5+02:00", 100.5),
        ("2015-10-21T07:28:00", None),  # whose noon it is, nobody says
        ("2015-10-21", None),
        ("2015-13-21T07:28:00Z", None),
        (".5", None),
        ("inf", None),
        ("1e3", None),
        ("\u0663", None),
        ("\u00b2", None),
        ("", None),
        ("soon", None),
        ("Wed, 32 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("120, 240", None),
    ],
)
def test_retry_after_in_every_spelling(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW_MS) == seconds


@given(st.text() | st.from_regex(r"(Wed, )?\d{1,3} Oct \d{1,6} \d\d:\d\d(:\d\d)?( GMT| [+-]\d{1,9})?", fullmatch=True))
def test_no_retry_after_value_raises(value: str) -> None:
    seconds = retry_after_s(value, NOW_MS)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_CAP_S


@pytest.mark.parametrize(
    ("wait", "rung"),
    [
        (-1, "1s"),
        (0, "1s"),
        (0.999, "1s"),
        (1, "1s"),
        (4.999, "1s"),
        (5, "5s"),
        (59.999, "30s"),
        (60, "1m"),
        (7199, "30m"),
        (7200, "2h"),
        (28799, "2h"),
        (28800, "8h"),
        (1e9, "8h"),
    ],
)
def test_a_record_waits_in_the_longest_rung_that_is_not_longer(wait: float, rung: str) -> None:
    assert rung_for(wait, RUNGS) == rung


# --- what ---------------------------------------------------------------------------------------------------------

RETRY, LATER = RetryAt(NOW_MS + 60_000), RetryAt(NOW_MS + 100_000)
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("outcome", "verdict", "result"),
    [
        (reply(200), Delivered(), "ok"),
        (reply(204, "100"), Delivered(), "ok"),
        (reply(299), Delivered(), "ok"),
        (reply(199), RETRY, "http_1xx"),
        (reply(300), RETRY, "http_3xx"),
        (reply(302), RETRY, "http_3xx"),
        (reply(304), RETRY, "http_3xx"),
        (reply(400), RETRY, "http_4xx"),
        (reply(404), RETRY, "http_4xx"),
        (reply(410), Dead("gone"), "http_4xx"),
        (reply(429), RETRY, "http_429"),
        (reply(429, "100"), LATER, "http_429"),
        (reply(429, "10"), RETRY, "http_429"),
        (reply(429, DATE), LATER, "http_429"),
        (reply(429, "soon"), RETRY, "http_429"),
        (reply(500), RETRY, "http_5xx"),
        (reply(503, "100"), LATER, "http_5xx"),
        (reply(302, "100"), LATER, "http_3xx"),
        (reply(599), RETRY, "http_5xx"),
        *((refusal(kind), RETRY, kind) for kind in get_args(HttpFailureKind)),
    ],
)
def test_outcomes_and_their_verdicts(outcome: HttpOutcome, verdict: Verdict, result: str) -> None:
    assert judged(outcome) == verdict
    assert result_of(outcome) == result


@pytest.mark.parametrize(
    ("attempt", "verdict"),
    [(1, RETRY), (2, RetryAt(NOW_MS + 300_000)), (3, Dead("exhausted")), (4, Dead("exhausted"))],
)
@pytest.mark.parametrize("outcome", [reply(500), reply(429), refusal("timeout")])
def test_a_delivery_dies_exactly_at_the_end_of_its_schedule(
    outcome: HttpOutcome, attempt: int, verdict: Verdict
) -> None:
    assert judged(outcome, attempt) == verdict


def test_retry_after_gives_no_attempt_beyond_the_schedule() -> None:
    assert judged(reply(503, "100"), 3) == Dead("exhausted")


def test_success_counts_even_after_the_end() -> None:
    assert judged(reply(200), 99) == Delivered()


@pytest.mark.parametrize(("attempt", "verdict"), [(1, RETRY), (3, Dead("exhausted"))])
def test_410_is_an_ordinary_failure_for_other_profiles(attempt: int, verdict: Verdict) -> None:
    assert judged(reply(410), attempt, gone_410=False) == verdict


def test_time_scale_and_jitter_affect_the_due_time() -> None:
    assert judged(reply(500), scale=0.5) == RetryAt(NOW_MS + 30_000)
    assert judged(reply(500), dice=0.5) == RetryAt(NOW_MS + 63_000)
    assert judged(reply(503, "100"), scale=0.5) == LATER


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_retry_after_date_without_a_zone_is_gmt(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert retry_after_s("Wed Oct 21 07:28:00 2015", 1_445_412_380_000) == 100
    monkeypatch.undo()
    time.tzset()
