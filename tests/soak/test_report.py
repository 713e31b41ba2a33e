"""The tables name what was measured, what was not, and what was broken."""

from __future__ import annotations

from tests.faults.checker import Verdict
from tests.soak.judgement import MIB, Growth, Outcome, ReplayCount, Sample, Shift, Slope
from tests.soak.report import progress, record, tables


def outcome() -> Outcome:
    verdict = Verdict(events=1200, deliveries=2400, requests=2450, delivered=2390, dead=10, sent_again=3, bound=40)
    return Outcome(
        seed=7,
        minutes=60.0,
        rate=60.0,
        appended_per_s=59.9,
        growths=[
            Growth("fanout", 3, 90, 101, 105, Slope(0.4, 0.2, 40), 40, 1, 0, "flat"),
            Growth("delay", 9, 90, 91, 91),
        ],
        shifts=[Shift(1, [verdict], [ReplayCount(30, 30)])],
        lag={},
        waiting=0,
        connections=0,
    )


def test_a_good_run_is_shown_as_passed() -> None:
    text = tables(outcome())
    assert "| fanout | 3 | 90, 101, 105 | +0.40 ± 0.20 over 40 min | flat | +1 | +0 | 40 |" in text
    assert "| 1 | 1,200 | 2,400 | 2,450 | 2,390 | 10 | 0 | 3 | 40 | 0 | 30 of 30 | 0 |" in text
    assert text.endswith("at the end: consumer lag 0 records, retries waiting 0, connections to receivers 0\npassed")


def test_what_was_not_judged_is_shown_as_such() -> None:
    made = outcome()
    made.lag, made.interrupted = None, True
    text = tables(made)
    assert "| delay | 9 | 90, 91, 91 | not judged | not judged | not judged | not judged | 0 |" in text
    assert "interrupted" in text and "consumer lag not read" in text
    assert text.endswith("FAILED")


def test_what_was_broken_is_shown_up_to_a_limit() -> None:
    made = outcome()
    made.incidents = [f"fanout: exit code {number}" for number in range(30)]
    text = tables(made)
    assert "broken: fanout: exit code 19\n" in text and "exit code 20" not in text
    assert "broken: 10 more, see the JSON" in text
    assert len(record(made, {})["broken"]) == 30


def test_progress_is_one_line_with_the_size_of_each_process() -> None:
    sizes = {"replay+health+notifier+api": [Sample(1.04, 9, 120 * MIB, 40, 8, 90 * MIB, 3)], "delay": []}
    line = progress(95.4, 3600, "shift 1/6", (5000, 9000, 0), sizes)
    assert line == "  1:35 of 60:00  shift 1/6: 5,000 events, 9,000 attempts; MiB: api 120"
    assert "9,000 attempts, 12 open; MiB" in progress(95.4, 3600, "drain", (5000, 9000, 12), sizes)
    assert record(outcome(), sizes)["samples"]["replay+health+notifier+api"] == [
        [1.0, 9, 120 * MIB, 40, 8, 90 * MIB, 3]
    ]
