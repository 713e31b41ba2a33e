"""The watchdog's decision: work without a move is suspect, then stuck; waiting on purpose and outages are neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.offsets.partitions import CommittedOffset, OpenPartition, PartitionId
from app.core.offsets.progress import GroupSpan, PartitionProgress, RoleReport, progress_of
from app.runtime.watchdog import Healthy, RestartBudget, RoleWatch, Stuck, Suspect, WatchdogLimits, WatchdogVerdict

EVERY_S = 5.0
ONE: PartitionId = ("events.raw", 1)
TWO: PartitionId = ("events.raw", 2)
BEHIND = RoleReport({ONE: PartitionProgress(10)})
TO_20 = {ONE: GroupSpan(0, 20), TWO: GroupSpan(0, 20)}


class Looks:
    """A watch, and the time that passes between two looks."""

    def __init__(self, limits: WatchdogLimits | None = None) -> None:
        self.watch = RoleWatch(limits or WatchdogLimits(suspect_s=30, stuck_s=120, settling_s=600), EVERY_S)
        self.now_s = 1000.0
        self.watch.judge(self.now_s, BEHIND, TO_20)

    def after(
        self, seconds: float, report: RoleReport = BEHIND, spans: dict[PartitionId, GroupSpan] | None = TO_20
    ) -> WatchdogVerdict:
        """Look every five seconds with the same to see; the last verdict."""
        verdict: WatchdogVerdict = Healthy()
        for _ in range(round(seconds / EVERY_S)):
            self.now_s += EVERY_S
            verdict = self.watch.judge(self.now_s, report, spans)
        return verdict


def test_work_without_progress_is_suspect_and_then_stuck() -> None:
    looks = Looks()
    assert looks.after(25) == Healthy()
    assert looks.after(5) == Suspect("behind by 10 in events.raw, partition 1, and nothing has moved for 30 s")
    assert isinstance(looks.after(85), Suspect)
    assert looks.after(5) == Stuck("behind by 10 in events.raw, partition 1, and nothing has moved for 120 s")


@pytest.mark.parametrize("moved", [PartitionProgress(11), PartitionProgress(10, (1,)), PartitionProgress(20)])
def test_progress_and_the_end_of_the_work_reset_the_clock(moved: PartitionProgress) -> None:
    looks = Looks()
    assert isinstance(looks.after(115), Suspect)
    assert looks.after(5, RoleReport({ONE: moved})) == Healthy()
    assert looks.after(5) == Healthy()  # and this is a move again
    assert looks.after(25) == Healthy()
    assert isinstance(looks.after(5), Suspect)


def test_a_partition_at_its_end_may_be_idle_for_ever() -> None:
    looks = Looks()
    assert looks.after(10_000, RoleReport({ONE: PartitionProgress(20)})) == Healthy()


def test_the_committed_offset_counts_until_the_role_reports_its_own() -> None:
    looks = Looks()
    unknown = RoleReport({ONE: PartitionProgress(None)})
    assert looks.after(10_000, unknown, {ONE: GroupSpan(20, 20)}) == Healthy()
    looks.after(5, unknown, {ONE: GroupSpan(19, 20)})  # behind from here on
    assert isinstance(looks.after(120, unknown, {ONE: GroupSpan(19, 20)}), Stuck)


def test_one_partition_that_moves_does_not_excuse_another() -> None:
    looks = Looks()
    verdict: WatchdogVerdict = Healthy()
    for step in range(24):
        verdict = looks.after(5, RoleReport({ONE: PartitionProgress(10), TWO: PartitionProgress(step % 20)}))
    assert isinstance(verdict, Stuck) and "partition 1" in verdict.reason


def test_partitions_of_others_are_not_looked_at() -> None:
    looks = Looks()
    assert looks.after(10_000, RoleReport()) == Healthy()
    assert looks.after(10_000, RoleReport({("elsewhere", 0): PartitionProgress(0)})) == Healthy()


def test_an_outage_holds_the_clock_and_keeps_the_verdict() -> None:
    looks = Looks()
    assert isinstance(looks.after(35), Suspect)
    assert isinstance(looks.after(10_000, spans=None), Suspect)
    assert isinstance(looks.after(80), Suspect)
    assert isinstance(looks.after(5), Stuck)


def test_an_outage_alone_makes_no_role_stuck() -> None:
    assert Looks().after(10_000, spans=None) == Healthy()


def test_deliberate_waiting_stops_the_clock_until_its_end() -> None:
    looks = Looks()
    until_s = looks.now_s + 60
    waiting = RoleReport({ONE: PartitionProgress(10, waits_until_s=until_s)})
    assert looks.after(60, waiting) == Healthy()
    assert looks.after(20, waiting) == Healthy()
    assert isinstance(looks.after(5, waiting), Suspect)


def test_an_hour_of_suspension_does_not_count_as_idle() -> None:
    looks = Looks()
    looks.now_s += 3600
    assert looks.after(5) == Healthy()
    assert looks.after(15) == Healthy()
    assert isinstance(looks.after(5), Suspect)


def test_recovery_without_a_step_is_stuck_and_each_step_resets_the_clock() -> None:
    looks = Looks()
    verdict: WatchdogVerdict = Healthy()
    for step in range(500):
        verdict = looks.after(5, RoleReport(settling="recovering tables", steps=step))
    assert verdict == Healthy()
    still = RoleReport(settling="recovering tables", steps=499)
    assert looks.after(595, still) == Healthy()
    assert looks.after(100, still, None) == Healthy()
    assert looks.after(5, still) == Stuck("recovering tables: no step for 600 s")


def test_recovery_does_not_count_as_idle() -> None:
    looks = Looks()
    looks.after(115)
    looks.after(5, RoleReport(settling="recovering tables"))
    assert looks.after(30) == Healthy()


def test_zero_disables_a_watchdog() -> None:
    assert Looks(WatchdogLimits(suspect_s=0, stuck_s=0, settling_s=0)).after(10_000) == Healthy()
    looks = Looks(WatchdogLimits(suspect_s=30, stuck_s=0, settling_s=0))
    assert isinstance(looks.after(10_000), Suspect)
    assert looks.after(10_000, RoleReport(settling="recovering tables")) == Healthy()


def test_restarts_are_limited_within_the_window() -> None:
    patience = RestartBudget(2, within_s=100)
    assert [patience.gives_up(now) for now in (0, 10, 20)] == [False, False, True]
    rare = RestartBudget(2, within_s=100)
    assert not any(rare.gives_up(now) for now in range(0, 1000, 60))
    assert RestartBudget(0, within_s=100).gives_up(0)


def test_progress_counts_from_the_oldest_open_offset_or_the_position() -> None:
    fresh = OpenPartition(ONE, CommittedOffset(None, ""), lambda: None)
    assert progress_of(fresh, None).low is None
    assert progress_of(fresh, 7).low == 7
    known = OpenPartition(ONE, CommittedOffset(5, ""), lambda: None)
    assert progress_of(known, None).low == 5
    known.opened(5, 1)
    known.opened(6, 1)
    opened = progress_of(known, 7)
    known.finished(6, 1)
    later = progress_of(known, 7)
    assert opened.low == later.low == 5 and opened.moves != later.moves
    known.finished(5, 1)
    assert progress_of(known, 9).low == 9, "markers behind the last record are no work"


looks_seen = st.lists(
    st.tuples(st.floats(0, 100), st.integers(0, 5), st.integers(0, 2), st.booleans(), st.booleans()), max_size=60
)


@given(looks_seen)
def test_no_role_is_stuck_without_that_much_idle_time(
    seen: list[tuple[float, int, int, bool, bool]],
) -> None:
    """(seconds since the look before, low, moves, Kafka answers, waits on purpose)."""
    watch, now_s, idle_s, before = RoleWatch(WatchdogLimits(suspect_s=30, stuck_s=120), EVERY_S), 0.0, 0.0, None
    for passed_s, low, moves, answers, waits in seen:
        now_s += passed_s
        report = RoleReport({ONE: PartitionProgress(low, (moves,), now_s + 1 if waits else None)})
        verdict = watch.judge(now_s, report, {ONE: GroupSpan(0, 5)} if answers else None)
        if answers:
            same = low < 5 and before == (low, moves)
            idle_s = idle_s + (0 if waits else min(passed_s, 2 * EVERY_S)) if same else 0.0
            before = (low, moves)
        if isinstance(verdict, Stuck):
            assert idle_s >= 119.9
        elif isinstance(verdict, Suspect):
            assert 29.9 <= idle_s < 120.1
        else:
            assert idle_s < 30.1
