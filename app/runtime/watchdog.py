"""Is a role that is alive also at work? Healthy, suspect or stuck, judged by what it reports and by where logs end.

Rules of this file
- A role is behind in a partition when the log goes on beyond `low`. Behind and without a move is idle time; any move,
  and having nothing to do, sets it back to zero. What counts as a move is the role's to say (`Progress`).
- Waiting on purpose is not idle: for a time that the role names (a request that may still be answered, a record that
  Kafka may still acknowledge), and whenever Kafka cannot be asked. The clock is held then: it neither runs nor resets.
- A look counts for two looks' distance at most: a process that was stopped for an hour is not condemned at once.
- A role that cannot work yet (it joins its group, it recovers tables) has a clock of its own, which any step resets.
- First suspect, which makes the process not ready; much later stuck, which ends the role.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.core.offsets.partitions import PartitionId
from app.core.offsets.progress import GroupSpan, PartitionProgress, RoleReport


class WatchdogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds without progress after which a role is suspect or stuck; 0: never."""

    suspect_s: float = 30.0
    stuck_s: float = 120.0
    settling_s: float = 600.0


class Healthy(msgspec.Struct, frozen=True):
    """The role makes progress, or has no work."""


class Suspect(msgspec.Struct, frozen=True):
    """The role cannot process new events at present."""

    reason: str


class Stuck(msgspec.Struct, frozen=True):
    """The role makes no progress and must be replaced."""

    reason: str


WatchdogVerdict = Healthy | Suspect | Stuck


class _Clock:
    __slots__ = ("idle_s", "moves")

    def __init__(self, moves: tuple[int | None, ...]) -> None:
        self.moves = moves
        self.idle_s = 0.0

    def run(self, seconds: float, moves: tuple[int | None, ...], *, held: bool) -> None:
        """Add seconds of idle time, unless `held`; a change of `moves` resets it to 0."""
        if moves != self.moves:
            self.moves, self.idle_s = moves, 0.0
        elif not held:
            self.idle_s += seconds


class RoleWatch:
    """Judges one instance of a role."""

    def __init__(self, limits: WatchdogLimits, every_s: float) -> None:
        """`every_s`: approximate seconds between two observations."""
        self._limits = limits
        self._longest_s = 2 * every_s
        self._looked_s: float | None = None
        self._places: dict[PartitionId, _Clock] = {}
        self._settling: _Clock | None = None
        self._verdict: WatchdogVerdict = Healthy()

    def judge(self, now_s: float, report: RoleReport, spans: Mapping[PartitionId, GroupSpan] | None) -> WatchdogVerdict:
        """One observation. `spans` None: Kafka does not answer, or the role waits for Kafka."""
        passed_s = 0.0 if self._looked_s is None else min(self._longest_s, now_s - self._looked_s)
        self._looked_s = now_s
        if spans is None:
            return self._verdict
        if report.settling is not None:
            self._places.clear()
            self._verdict = self._judge_settling(passed_s, report.settling, report.steps)
        else:
            self._settling = None
            self._verdict = self._judge_places(now_s, passed_s, report.places, spans)
        return self._verdict

    def _judge_settling(self, passed_s: float, why: str, steps: int) -> WatchdogVerdict:
        if self._settling is None:
            self._settling = _Clock((steps,))
        else:
            self._settling.run(passed_s, (steps,), held=False)
        limit_s = self._limits.settling_s
        if limit_s and self._settling.idle_s >= limit_s:
            return Stuck(f"{why}: no step for {self._settling.idle_s:.0f} s")
        return Healthy()  # it says itself that it is not ready

    def _judge_places(
        self,
        now_s: float,
        passed_s: float,
        places: Mapping[PartitionId, PartitionProgress],
        spans: Mapping[PartitionId, GroupSpan],
    ) -> WatchdogVerdict:
        worst: tuple[float, PartitionId, int] | None = None
        clocks: dict[PartitionId, _Clock] = {}
        for place, progress in places.items():
            span = spans.get(place)
            if span is None:
                continue
            low = span.begin if progress.low is None else progress.low
            if low >= span.end:
                continue
            moves = (progress.low, *progress.moves)
            clock_before = self._places.get(place)
            clock = clocks[place] = clock_before or _Clock(moves)
            if clock_before is not None:
                held = progress.waits_until_s is not None and now_s < progress.waits_until_s
                clock.run(passed_s, moves, held=held)
            if worst is None or clock.idle_s > worst[0]:
                worst = (clock.idle_s, place, span.end - low)
        self._places = clocks
        return Healthy() if worst is None else self._name(*worst)

    def _name(self, idle_s: float, place: PartitionId, behind: int) -> WatchdogVerdict:
        reason = f"behind by {behind} in {place[0]}, partition {place[1]}, and nothing has moved for {idle_s:.0f} s"
        if self._limits.stuck_s and idle_s >= self._limits.stuck_s:
            return Stuck(reason)
        if self._limits.suspect_s and idle_s >= self._limits.suspect_s:
            return Suspect(reason)
        return Healthy()


class RestartBudget:
    """How often a role that gets stuck is restarted before the process has to end."""

    def __init__(self, restarts: int, within_s: float) -> None:
        """Allow `restarts` restarts of a stuck role within `within_s` seconds."""
        self._restarts = restarts
        self._within_s = within_s
        self._times: list[float] = []

    def gives_up(self, now_s: float) -> bool:
        """Record that the role is stuck. Returns whether the limit is exceeded."""
        self._times = [*(each for each in self._times if now_s - each < self._within_s), now_s]
        return len(self._times) > self._restarts
