"""A backlog behind one endpoint on a virtual clock: real lanes, circuit, schedule and ladder, and a receiver.

`python -m tests.roles.dispatch.backlog` plays the days that docs/bounds.md reports.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from time import perf_counter

from app.core.topics import names
from app.core.topics.names import RUNGS
from app.roles.delay.ladder import Ladder, MoveDown
from app.roles.dispatch import schedule, wait_limits
from app.roles.dispatch.lanes import LaneFull, LaneLimits, Lanes

RUNG_MS = {name: 0 if name == RUNGS[0][0] else round(seconds * 1000) for name, seconds in RUNGS}
HOUR_MS = 3_600_000
STANDARD = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)


class Waiting:
    """A delivery, and what moving it has cost."""

    __slots__ = ("attempts", "begun_ms", "due_ms", "id", "moves", "rung", "since_ms")

    def __init__(self, serial: int, begun_ms: int) -> None:
        self.id = serial
        self.begun_ms = begun_ms
        self.attempts = 0
        self.due_ms = 0
        self.since_ms = 0
        self.moves = 0
        self.rung = ""


class Backlog:
    """One endpoint. `answer(now_ms)` is what a request that begins then comes to: (milliseconds, status or None)."""

    def __init__(
        self,
        answer: Callable[[int], tuple[int, int | None]],
        arrivals: Iterator[int],
        *,
        rate: float | None = None,
        schedule_s: tuple[float, ...] = STANDARD,
        least_ms: int = 24 * HOUR_MS,
    ) -> None:
        self._answer = answer
        self._arrivals = arrivals
        self._rate = rate
        self._schedule_s = schedule_s
        self._limit_ms = wait_limits.wait_limit_ms(schedule_s, scale=1.0, least_ms=least_ms)
        self._lanes: Lanes[Waiting] = Lanes(LaneLimits())
        self._ladder: Ladder[Waiting] = Ladder(capacity=20_000, capacity_bytes=2**40)
        self._flying: list[tuple[int, int, Waiting, int | None]] = []
        self._sweep_ms = 0
        self._now_ms = 0
        self.deferrals = self.handed_down = self.requests = self.arrived = 0
        self.delivered: list[int] = []
        self.overloaded = self.exhausted = 0
        self.in_memory = self.held = self.most_moves = 0
        #: deferrals, hand-downs and releases of each hour
        self.hourly: dict[int, int] = {}
        self.waits: list[tuple[int, int]] = []

    def play(self, until_ms: int) -> Backlog:
        """Go on until then."""
        arrival = next(self._arrivals, None)
        while True:
            times = [self._ladder.next_ms(), arrival, self._flying[0][0] if self._flying else None]
            if self._lanes.waiting:
                times += [self._sweep_ms + 1000, self._lanes.wake_at_ms()]  # type: ignore[list-item]
            self._now_ms = max(self._now_ms, round(min((each for each in times if each is not None), default=until_ms)))
            if self._now_ms >= until_ms:
                return self
            while arrival is not None and arrival <= self._now_ms:
                self._offer(Waiting(self.arrived, arrival), fresh=True)
                self.arrived += 1
                arrival = next(self._arrivals, None)
            self._release()
            self._land()
            if self._lanes.waiting and self._now_ms - self._sweep_ms >= 1000:
                self._sweep_ms = self._now_ms
                for item, full in self._lanes.stalled(self._now_ms):
                    self._defer(item, full)
            while (next_item := self._lanes.take(self._now_ms)) is not None:
                took_ms, status = self._answer(self._now_ms)
                heappush(self._flying, (self._now_ms + took_ms, next_item.id, next_item, status))
                self.requests += 1
            self.in_memory = max(self.in_memory, self._lanes.waiting + self._lanes.in_flight)
            self.held = max(self.held, self._ladder.held)

    def _release(self) -> None:
        for order in self._ladder.step(self._now_ms):
            item = order.item
            item.moves += 1
            self._count()
            if isinstance(order, MoveDown):
                self.handed_down += 1
                self._climb(item)
            else:
                self._offer(item)

    def _land(self) -> None:
        while self._flying and self._flying[0][0] <= self._now_ms:
            _, _, item, status = heappop(self._flying)
            self._lanes.done("ep", item, self._now_ms, answered=status is not None)
            item.since_ms = 0
            item.attempts += 1
            delay = schedule.delay_s(self._schedule_s, item.attempts)
            if status == 200:
                self.delivered.append(self._now_ms)
                self._end(item)
            elif delay is None:
                self.exhausted += 1
                self._end(item)
            else:
                item.due_ms = schedule.due_at_ms(self._now_ms, delay, scale=1.0, dice=0.5)
                self._climb(item)

    def _offer(self, item: Waiting, *, fresh: bool = False) -> None:
        full = self._lanes.offer("ep", item, self._now_ms, rate=self._rate, again=item.since_ms > 0)
        if full is not None:
            self._defer(item, full)

    def _defer(self, item: Waiting, full: LaneFull) -> None:
        item.since_ms = item.since_ms or max(1, self._now_ms)
        due_ms = wait_limits.next_look_ms(full.until_ms, item.since_ms, self._limit_ms, self._now_ms)
        if due_ms is None:
            self.overloaded += 1
            self._end(item)
            return
        self.deferrals += 1
        item.moves += 1
        self._count()
        item.due_ms = due_ms
        self._climb(item)

    def _climb(self, item: Waiting) -> None:
        item.rung = names.rung_for((item.due_ms - self._now_ms) / 1000, RUNGS)
        self._ladder.add(
            (item.rung, 0), item, appended_ms=self._now_ms, due_ms=item.due_ms, rung_ms=RUNG_MS[item.rung], size=1
        )

    def _count(self) -> None:
        hour = self._now_ms // HOUR_MS
        self.hourly[hour] = self.hourly.get(hour, 0) + 1

    def _end(self, item: Waiting) -> None:
        self.most_moves = max(self.most_moves, item.moves)
        self.waits.append((self._now_ms - item.begun_ms, item.moves))

    def still(self) -> list[Waiting]:
        """What waits in the ladder."""
        queues = self._ladder._queues.values()
        return [entry[2] for queue in queues for entry in queue] + [entry[2] for entry in self._ladder._held]

    def line(self, what: str) -> str:
        """The numbers."""
        moves = sorted([each.moves for each in self.still()] + [moves for _, moves in self.waits])
        rates = [each / 3600 for each in self.hourly.values()]
        return (
            f"{what}: {self.arrived} arrived, {self.requests} requests, {len(self.delivered)} delivered, "
            f"{self.overloaded} overloaded, {self.exhausted} exhausted, {len(self.still())} wait; moves per delivery: "
            f"mean {sum(moves) / len(moves):.1f}, p99 {moves[len(moves) * 99 // 100]}, most {moves[-1]}; records moved "
            f"per second: mean {sum(self.hourly.values()) * 1000 / self._now_ms:.1f}, in the busiest hour "
            f"{max(rates):.1f}; in memory: dispatch {self.in_memory}, delay {self.held}"
        )


def every(distance_ms: int, until_ms: int = 10**15) -> Iterator[int]:
    """One arrival each."""
    yield from range(distance_ms, until_ms, distance_ms)


def hangs(_: int) -> tuple[int, int | None]:
    """A receiver that never answers, with a timeout of 20 s."""
    return 20_000, None


def answers(_: int) -> tuple[int, int | None]:
    """A receiver that is well."""
    return 20, 200


def main() -> None:
    """The days of the documents."""
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    day = round(24 * HOUR_MS * scale)
    for what, backlog, until in (
        ("hangs, 1/s", Backlog(hangs, every(1000)), day),
        ("hangs, 10/s", Backlog(hangs, every(100)), day),
        (
            "hangs for 3 h at 10/s, then answers",
            Backlog(lambda now: hangs(now) if now < day // 8 else answers(now), every(100, day // 4)),
            day,
        ),
        ("limit 1/s, 1,000,000 at once", Backlog(answers, iter(range(1, round(1_000_000 * scale))), rate=1.0), 4 * day),
    ):
        begun = perf_counter()
        print(backlog.play(until).line(what), f"({perf_counter() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
