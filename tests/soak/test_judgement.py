"""The judge of a long run finds what it is there to find: leaks and losses, made up by hand."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.faults.checker import Verdict
from tests.soak.judgement import (
    CONNECTIONS_LIMIT,
    EVENT_BYTES,
    FLAT,
    GROWS,
    MIB,
    NOT_JUDGED,
    UNDECIDED,
    WARMUP_S,
    WRITE_BUFFERS_BYTES,
    Growth,
    Outcome,
    ReplayCount,
    Sample,
    Shift,
    Slope,
    growth,
    memory,
    slope,
    warmup_s,
)

HOUR_S = 3600


def samples(
    *,
    leak: float = 0.0,
    lives: int = 1,
    noise: float = 0.3,
    descriptors: float = 0.0,
    threads: float = 0.0,
    free: float = 0.0,
) -> list[Sample]:
    """An hour, one sample each 5 s; the leaks are per hour, each process begins anew.

    `free`: MiB that the allocators have after each third of an hour, and do not use.
    """
    dice = Random(1)
    made = []
    for at in range(0, HOUR_S, 5):
        life = at * lives // HOUR_S
        age = (at - life * HOUR_S / lives) / HOUR_S
        used = int((100 + 20 * min(1.0, age * 15) + 7 * life + leak * age + dice.gauss(0, noise)) * MIB)
        rss = used + int(free * (3 * at // HOUR_S) * MIB)
        opened = 40 + dice.choice((0, 0, 9)) + int(descriptors * age)
        connections = 20 + dice.choice((0, 100))
        made.append(Sample(float(at), life, rss, opened, 8 + int(threads * age), used, connections))
    return made


@pytest.mark.parametrize("lives", [1, 3])
def test_a_process_that_stays_as_it_is_has_no_findings(lives: int) -> None:
    judged = growth("dispatch", samples(lives=lives), 60)
    assert (judged.broken, judged.memory, judged.lives) == ([], FLAT, lives)
    assert (judged.descriptors, judged.threads) == (0, 0)


@pytest.mark.parametrize("lives", [1, 3])
def test_a_leak_is_measured_whether_or_not_the_process_is_restarted(lives: int) -> None:
    judged = growth("dispatch", samples(leak=6, lives=lives), 60)
    assert judged.slope is not None
    assert judged.slope.per_hour == pytest.approx(6, abs=0.7)
    assert judged.memory == GROWS
    assert [sentence.startswith("memory grows by") for sentence in judged.broken] == [True]


def test_the_growth_of_a_start_is_none() -> None:
    found = slope(samples(noise=0))
    assert found is not None
    assert found.per_hour == pytest.approx(0, abs=0.01)


def test_a_higher_level_of_the_next_process_is_no_growth() -> None:
    found = slope(samples(lives=4, noise=0))
    assert found is not None
    assert found.per_hour == pytest.approx(0, abs=0.01)


def test_memory_that_allocators_keep_after_a_burst_is_no_growth_and_hides_none() -> None:
    judged = growth("api", samples(free=9), 60)
    assert (judged.memory, judged.broken) == (FLAT, [])
    assert judged.rss_last - judged.rss_first > 18
    assert growth("api", samples(free=9, leak=4), 60).memory == GROWS


def test_a_process_whose_memory_was_not_read_is_not_judged_by_it() -> None:
    unread = [replace(sample, used=None) for sample in samples(leak=50)]
    assert growth("api", unread, 60).memory == NOT_JUDGED


def test_the_warm_up_lasts_until_write_buffers_are_full() -> None:
    assert warmup_s(60) == warmup_s(1000) == WARMUP_S
    assert warmup_s(6) == pytest.approx(WRITE_BUFFERS_BYTES / (6 * EVENT_BYTES))
    filling = [replace(each, used=(each.used or 0) + int(min(1.0, each.at / 2400) * 8 * MIB)) for each in samples()]
    assert growth("fanout", filling, 60, 60).memory == GROWS
    assert growth("fanout", filling, 60, 6).memory == FLAT


def test_what_is_opened_at_its_first_use_is_no_growth() -> None:
    late = [replace(each, descriptors=each.descriptors + 10 * (each.at >= 500)) for each in samples()]
    assert growth("api", late, 60).descriptors == 0
    (sentence,) = growth("api", samples(descriptors=60, lives=3), 60).broken
    assert "descriptors" in sentence


def test_connections_to_receivers_have_their_own_bound() -> None:
    busy = [replace(each, connections=each.connections + int(each.at / 3)) for each in samples()]
    judged = growth("dispatch", busy, 60)
    assert (judged.broken, judged.descriptors) == ([], 0)
    assert judged.connections == pytest.approx(HOUR_S / 3 + 120, abs=5)
    more = [replace(each, connections=CONNECTIONS_LIMIT + 1) for each in samples()]
    assert growth("dispatch", more, 60).broken == ["2049 connections to receivers at once"]


def test_a_short_run_judges_no_slope() -> None:
    assert growth("dispatch", samples(leak=50), 19).memory == NOT_JUDGED
    short = [sample for sample in samples(leak=50, descriptors=900) if sample.at < 500]
    judged = growth("dispatch", short, 60)
    assert (judged.slope, judged.descriptors, judged.memory, judged.broken) == (None, None, NOT_JUDGED, [])


def test_a_slope_that_noise_explains_is_undecided() -> None:
    assert memory(Slope(1.5, 0.4, 20), 60) == UNDECIDED
    assert memory(Slope(1.5, 0.2, 20), 60) == GROWS
    assert memory(Slope(0.9, 3.0, 20), 60) == FLAT


def test_descriptors_and_threads_that_grow_are_found() -> None:
    (sentence,) = growth("api", samples(descriptors=12), 60).broken
    assert "descriptors" in sentence
    (sentence,) = growth("api", samples(threads=6), 60).broken
    assert "threads" in sentence


def test_a_process_without_samples_is_not_judged() -> None:
    assert growth("api", [], 60) == Growth("api")


def shift() -> Shift:
    """All is well."""
    one = Verdict(events=100, deliveries=300, delivered=290, dead=10, requests=320)
    other = Verdict(events=50, deliveries=50, delivered=50, requests=50)
    return Shift(1, [one, other], [ReplayCount(owed=20, ended=20)])


def outcome(*shifts: Shift) -> Outcome:
    made = Outcome(seed=1, minutes=60, rate=60)
    made.shifts, made.lag, made.waiting = list(shifts), {}, 0
    return made


def test_a_run_in_which_all_is_well_has_no_findings() -> None:
    assert outcome(shift(), shift()).broken == []


def test_what_the_checker_finds_is_found() -> None:
    bad = shift()
    bad.verdicts[0].lost, bad.verdicts[0].delivered = 1, 289
    bad.verdicts[0].broken = ["e7: final states none"]
    assert outcome(shift(), bad).broken == ["shift 1: e7: final states none"]


def test_a_delivery_without_an_end_is_found_by_counting() -> None:
    bad = shift()
    bad.verdicts[1].delivered = 49
    assert outcome(bad).broken == ["shift 1: 350 deliveries were owed, and 349 came to one end"]


def test_a_replay_that_lost_a_delivery_is_found() -> None:
    bad = shift()
    bad.replays[0].ended = 19
    assert outcome(bad).broken == ["shift 1: a replay owed 20 deliveries, and 19 came to an end"]


def test_lag_and_waiting_retries_at_the_end_are_found() -> None:
    left = outcome(shift())
    left.lag, left.waiting = {"delay deliveries.delay.1s": 2}, 2
    assert left.broken == [
        "lag of delay deliveries.delay.1s: 2 records at the end",
        "2 deliveries wait for a retry at the end",
    ]


def test_a_connection_that_outlives_its_use_is_found() -> None:
    left = outcome(shift())
    left.connections = 1
    assert left.broken == ["1 connections to receivers are open at the end"]


def test_a_run_that_reconciled_nothing_fails() -> None:
    assert outcome().broken == ["nothing was reconciled"]
    assert outcome(Shift(2)).broken == ["shift 2: its deliveries were not reconciled"]
    unread = outcome(shift())
    unread.lag = None
    assert unread.broken == ["lag and waiting retries were not read at the end"]


def test_a_process_that_ended_by_itself_fails_the_run() -> None:
    made = outcome(shift())
    made.incidents.append("fanout: exit code 1")
    assert made.broken == ["fanout: exit code 1"]
