"""The judge of a long run: from samples of processes and counts of deliveries, what grew, and what was lost.

Pure: it reads no clock and no process.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from tests.faults.checker import Verdict

MIB = 1024 * 1024
#: MiB per hour from which memory counts as growing
SLOPE_LIMIT = 1.0
#: minutes from which a run is long enough to judge a slope
LONG_MINUTES = 20.0
#: seconds in which a process that has just started may still grow: imports, first buffers, caches (`warmup_s`)
WARMUP_S = 300.0
#: what an event leaves in the write buffers of fan-out's tables, at least: see docs/deploy/sizing.md
EVENT_BYTES = 70
#: write buffers of a process in a run (tests/soak/service.py): after that many bytes they are full
WRITE_BUFFERS_BYTES = 1024 * 1024
#: seconds after which everything that a process opens at its first use is open: in a shift each kind of load occurs
OPENING_S = 600.0
#: minutes without restart, after the warm-up, that a life needs to be judged
LIFE_MINUTES = 4
#: descriptors or threads by which the least of a life may rise
GROWTH_LIMIT = 2
#: connections to receivers that dispatch may have: as many as requests in flight, and as many idle ones
#: (docs/bounds.md, app/adapters/http/pool.py)
CONNECTIONS_LIMIT = 1024 + 1024
#: seconds after which an idle connection to a receiver is closed, and a timer of the pool's more
KEEPALIVE_S = 15.0 + 1.0
NOT_JUDGED, FLAT, UNDECIDED, GROWS = "not judged", "flat", "undecided", "GROWS"


@dataclass(slots=True, frozen=True)
class Sample:
    """One look at a process: seconds since the begin of the run, and which of the role's processes it was."""

    at: float
    life: int
    #: resident bytes
    rss: int
    #: without connections to receivers
    descriptors: int
    threads: int
    #: resident bytes, without those that the allocators have and do not use; None: not read
    used: int | None = None
    #: to receivers
    connections: int = 0


@dataclass(slots=True, frozen=True)
class Slope:
    """MiB per hour, with the standard error of the estimate, over so many minutes."""

    per_hour: float
    error: float
    minutes: int


@dataclass(slots=True)
class Growth:
    """What became of one process over the run."""

    name: str
    lives: int = 0
    rss_first: float = 0.0
    rss_last: float = 0.0
    rss_most: float = 0.0
    #: of the used memory
    slope: Slope | None = None
    #: most connections to receivers at once
    connections: int = 0
    #: by how many the least number of the last third of a life exceeds that of its first third; None: not judged
    descriptors: int | None = None
    threads: int | None = None
    memory: str = NOT_JUDGED
    broken: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ReplayCount:
    """A replay of a time range: deliveries that it owed, and those that came to an end."""

    owed: int = 0
    ended: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Shift:
    """A set of tenants that was there for some minutes: what the checker of the rounds of faults says of each."""

    number: int
    verdicts: list[Verdict] = field(default_factory=list)
    replays: list[ReplayCount] = field(default_factory=list)

    def total(self, name: str) -> int:
        """The sum of one number over the tenants."""
        return sum(getattr(verdict, name) for verdict in self.verdicts)

    @property
    def broken(self) -> list[str]:
        """What was broken, tenant by tenant."""
        if not self.verdicts:
            return ["its deliveries were not reconciled"]
        sentences = [sentence for verdict in self.verdicts for sentence in verdict.broken]
        ended = sum(self.total(name) for name in ("delivered", "dead", "cancelled"))
        if ended != self.total("deliveries") and not self.total("lost"):
            sentences.append(f"{self.total('deliveries')} deliveries were owed, and {ended} came to one end")
        for replay in self.replays:
            sentences += replay.broken
            if replay.ended != replay.owed:
                sentences.append(f"a replay owed {replay.owed} deliveries, and {replay.ended} came to an end")
        return sentences


@dataclass(slots=True)
class Outcome:
    """All that a run has shown."""

    seed: int
    minutes: float
    rate: float
    #: events that were appended for each second that events were appended
    appended_per_s: float = 0.0
    restarts: int = 0
    kills: int = 0
    interrupted: bool = False
    growths: list[Growth] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)
    #: group and topic → records that were not processed when everything had ended; None: that was not reached
    lag: dict[str, int] | None = None
    #: deliveries that still waited for a retry then
    waiting: int | None = None
    #: connections to receivers then, when the last request was longer ago than an idle connection is open
    connections: int | None = None
    #: processes that ended by themselves, and the like
    incidents: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """Everything for which the run fails."""
        sentences = [f"shift {shift.number}: {each}" for shift in self.shifts for each in shift.broken]
        sentences += [f"{growth.name}: {each}" for growth in self.growths for each in growth.broken]
        sentences += [f"lag of {name}: {records} records at the end" for name, records in (self.lag or {}).items()]
        if self.waiting:
            sentences.append(f"{self.waiting} deliveries wait for a retry at the end")
        if self.connections:
            sentences.append(f"{self.connections} connections to receivers are open at the end")
        if not self.shifts:
            sentences.append("nothing was reconciled")
        elif self.lag is None or self.waiting is None:
            sentences.append("lag and waiting retries were not read at the end")
        return sentences + self.incidents


def warmup_s(rate: float) -> float:
    """Seconds until the write buffers of tables are full, at so many events per second, or until a start is over."""
    return max(WARMUP_S, WRITE_BUFFERS_BYTES / (EVENT_BYTES * rate))


def growth(name: str, samples: Sequence[Sample], minutes: float, rate: float = 60.0) -> Growth:
    """Judge the samples of one role's processes, in a run of so many minutes and events per second."""
    lives = by_life(samples)
    judged = Growth(name, lives=len(lives))
    if not samples:
        return judged
    judged.rss_first, judged.rss_last = samples[0].rss / MIB, samples[-1].rss / MIB
    judged.rss_most = max(sample.rss for sample in samples) / MIB
    judged.slope = slope(samples, warmup_s(rate))
    judged.memory = memory(judged.slope, minutes)
    if judged.memory == GROWS and judged.slope:
        judged.broken.append(f"memory grows by {judged.slope.per_hour:.1f} ± {judged.slope.error:.1f} MiB/h")
    judged.connections = max(sample.connections for sample in samples)
    if judged.connections > CONNECTIONS_LIMIT:
        judged.broken.append(f"{judged.connections} connections to receivers at once")
    judged.descriptors = rise(samples, lambda sample: sample.descriptors)
    judged.threads = rise(samples, lambda sample: sample.threads)
    for what, number in (("descriptors", judged.descriptors), ("threads", judged.threads)):
        if number is not None and number > GROWTH_LIMIT:
            judged.broken.append(f"{number} more {what} at the end of a life than at its begin")
    return judged


def by_life(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples of each process, one process after the other."""
    lives: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        lives[sample.life].append(sample)
    return list(lives.values())


def warm(life: Sequence[Sample], warmup: float) -> list[Sample]:
    """A life without its first seconds; empty, if not enough is left of it."""
    after = [sample for sample in life if sample.at >= life[0].at + warmup]
    return after if after and after[-1].at - after[0].at >= LIFE_MINUTES * 60 - 30 else []


def slope(samples: Sequence[Sample], warmup: float = WARMUP_S) -> Slope | None:
    """Least squares over the means of minutes; each life has a level of its own, and all have one slope."""
    read = [sample for sample in samples if sample.used is not None]
    lives = [_minutes(life) for each in by_life(read) if (life := warm(each, warmup))]
    points = [
        (at - fmean(at for at, _ in life), rss - fmean(rss for _, rss in life)) for life in lives for at, rss in life
    ]
    spread = sum(at * at for at, _ in points)
    free = len(points) - len(lives) - 1
    if not spread or free < 1:
        return None
    per_hour = sum(at * rss for at, rss in points) / spread
    rest = sum((rss - per_hour * at) ** 2 for at, rss in points)
    return Slope(per_hour, math.sqrt(rest / free / spread), len(points))


def _minutes(life: Sequence[Sample]) -> list[tuple[float, float]]:
    """(hours, MiB), the means of each minute."""
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in life:
        groups[int((sample.at - life[0].at) // 60)].append(sample)
    return [
        (fmean(sample.at for sample in group) / 3600, fmean(sample.used or 0 for sample in group) / MIB)
        for group in groups.values()
    ]


def memory(found: Slope | None, minutes: float) -> str:
    """Whether memory is flat; `UNDECIDED`: above the limit, but not by twice the error of the estimate."""
    if found is None or minutes < LONG_MINUTES:
        return NOT_JUDGED
    if found.per_hour < SLOPE_LIMIT:
        return FLAT
    return GROWS if found.per_hour - 2 * found.error >= SLOPE_LIMIT else UNDECIDED


def rise(samples: Sequence[Sample], of: Callable[[Sample], int]) -> int | None:
    """The largest rise of a number within a life: the least of its last third, minus the least of its first.

    The least, because requests under way open connections that close again.
    """
    rises = []
    for each in by_life(samples):
        life = warm(each, OPENING_S)
        third = len(life) // 3
        if third:
            rises.append(min(map(of, life[-third:])) - min(map(of, life[:third])))
    return max(rises, default=None)
