"""A tenant of the soak: its endpoints, its events, an outage, a replay, and what became of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.faults import checker
from tests.faults.checker import Verdict
from tests.faults.guests import SOME
from tests.faults.receiver import Manners
from tests.faults.rounds import Scene, Stage
from tests.patience import PATIENCE_S
from tests.soak.judgement import ReplayCount
from tests.soak.watching import LeanObserver

KINDS = ("ordered", "failing", "hanging")
#: seconds before each attempt of an endpoint that is down for minutes (the service runs five times as fast)
_LONG_SCHEDULE = (0.0, 5.0, 30.0, 120.0, 300.0, 600.0)
_TIMEOUT_S = 5.0
#: seconds that an endpoint is down at most
_OUTAGE_S = 150.0
#: seconds of events that are replayed at most, and by how much the judge trusts the ends of that span
_REPLAYED_S, _BLUR_MS = 60.0, 1000
#: seconds that the appending catches up after a delay of this process or the broker
_BEHIND_S = 2.0
#: appends that may wait for the broker at once
_PENDING = 500
#: one look at what is still open in so many seconds
_LOOK_S = 2.0
#: ordering keys of a tenant: so many that a busy machine can still send each key's events one after the other
_KEYS = 48
_PADDING = "x" * 300


class Replayed(NamedTuple):
    """A replay that was asked for, and the (endpoint, event) that it owes."""

    id: str
    owed: set[tuple[str, str]]


async def paused(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, at most until the run is stopped; whether it is."""
    try:
        await asyncio.wait_for(stop.wait(), max(0.0, seconds))
    except TimeoutError:
        return False
    return True


class Tenant(Scene):
    """One of the tenants of a shift."""

    def __init__(self, stage: Stage, observer: LeanObserver, seed: int, kind: str) -> None:
        super().__init__(stage, seed)
        self._observer = observer
        self._kind = kind
        self._down: list[Manners] = []
        self._silent: list[Manners] = []
        self._replays: list[Replayed] = []
        self._begun = 0.0
        self.appended = 0
        #: what had not come to an end when its judge looked last
        self.open = 0

    async def settle_in(self) -> None:
        """Register what it needs."""
        await self.register()
        await self.endpoint("steady", timeout=_TIMEOUT_S, flaky=0.02)
        match self._kind:
            case "ordered":
                await self.endpoint("ordered", fifo=True, timeout=_TIMEOUT_S, flaky=0.1, failures=2, takes_s=0.01)
            case "failing":
                await self.endpoint("recovering", timeout=_TIMEOUT_S, schedule=_LONG_SCHEDULE)
                self._down.append(self._manners[-1])
                await self.endpoint("slow", types=SOME, timeout=10, takes_s=1.5, exactly=True)
            case _:
                await self.endpoint("ordered-down", fifo=True, types=SOME, timeout=_TIMEOUT_S)
                self._down.append(self._manners[-1])
                await self.endpoint("hanging", types=SOME, timeout=2, schedule=_LONG_SCHEDULE)
                self._silent.append(self._manners[-1])
                await self.endpoint("dead", types=SOME, timeout=_TIMEOUT_S, dead=True)
        self._begun = asyncio.get_running_loop().time()

    async def live(self, seconds: float, rate: float, stop: asyncio.Event) -> None:
        """Everything that this tenant does in so many seconds."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._append(seconds, rate, stop))
            group.create_task(self._outage(seconds, stop))
            if self._kind == "ordered":
                group.create_task(self._replay(seconds, stop))
            elif self._kind == "failing":
                group.create_task(self.change())

    async def _append(self, seconds: float, rate: float, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        end = due + seconds
        pending: set[asyncio.Task[None]] = set()
        while loop.time() < end and not await paused(stop, due - loop.time()):
            due = max(due, loop.time() - _BEHIND_S)
            pending |= self.appending(self.appended, {"text": _PADDING}, keys=_KEYS, duplicates=0.02, garbage=0.005)
            self.appended += 1
            due += 1 / rate
            pending = {task for task in pending if not task.done() or task.exception()}
            if len(pending) > _PENDING:
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*pending)

    async def _outage(self, seconds: float, stop: asyncio.Event) -> None:
        await paused(stop, 0.2 * seconds)
        for manners in self._down:
            manners.dead = True
        for manners in self._silent:
            manners.silent = True
        await paused(stop, min(_OUTAGE_S, 0.25 * seconds))
        for manners in self._down:
            manners.dead = False
        for manners in self._silent:
            manners.silent = False

    async def _replay(self, seconds: float, stop: asyncio.Event) -> None:
        if await paused(stop, 0.55 * seconds):
            return
        written = dict(self._observer.written[self.tenant])
        to = max(written.values())
        since = to - int(1000 * min(_REPLAYED_S, 0.3 * seconds))
        made = await self._ask("POST", "/v1/replays", {"from": _iso(since), "to": _iso(to)})
        owed = {
            (target.endpoint, event)
            for target in self._targets
            for event, at in written.items()
            if since + _BLUR_MS <= at <= to - _BLUR_MS
        }
        self._replays.append(Replayed(made["id"], owed))

    def count_open(self) -> int:
        """Deliveries, and deliveries owed by replays, that have not come to an end."""
        seen = self._observer.tenants[self.tenant]
        events, ended = checker.accepted(seen), checker.finals(seen)
        names = ((target.endpoint, event) for target in self._targets for event in checker.wanted(target, events))
        left = sum(name not in ended for name in names)
        return left + sum(len(replay.owed - self._observer.replayed[replay.id]) for replay in self._replays)

    async def _replays_done(self) -> bool:
        states = [(await self._ask("GET", f"/v1/replays/{replay.id}"))["state"] for replay in self._replays]
        return set(states) <= {"done"}

    async def reconcile(self) -> tuple[Verdict, list[ReplayCount]]:
        """Wait until every delivery has come to an end, judge, and go away."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + PATIENCE_S + 2 * _OUTAGE_S
        done = False
        while not done and loop.time() < give_up:
            self.open = self.count_open()
            done = not self.open and await self._replays_done()
            if not done:
                await asyncio.sleep(_LOOK_S)
        seen = self._observer.tenants[self.tenant]
        hits = [hit for manners in self._manners for hit in manners.hits if not hit.replay]
        windows = [window for window in self.stage.windows if window.begun >= self._begun]
        verdict = await asyncio.to_thread(checker.judge, seen, self._targets, hits, windows)
        if done:
            verdict.broken += await self._shown()
        else:
            verdict.broken.insert(0, f"{self.tenant}: not everything had come to an end when the judge gave up")
        counts = [
            ReplayCount(owed=len(replay.owed), ended=len(replay.owed & self._observer.replayed[replay.id]))
            for replay in self._replays
        ]
        await self._leave()
        return verdict, counts

    async def _rows(self) -> list[dict[str, Any]]:
        return [row for row in await super()._rows() if not row["replay"]]

    async def _leave(self) -> None:
        for target in self._targets:
            await self._ask("DELETE", f"/v1/webhooks/{target.endpoint}")
            self.stage.receiver.forget(target.path)
        for replay in self._replays:
            self._observer.replayed.pop(replay.id, None)
        self._observer.written.pop(self.tenant, None)
        self._observer.tenants.pop(self.tenant, None)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
