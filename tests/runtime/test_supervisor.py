"""The supervisor on a fake clock: back-off, what /readyz says meanwhile, stuck roles, and when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import Unavailable
from app.core.offsets.partitions import PartitionId
from app.core.offsets.progress import GroupSpan, PartitionProgress, RoleReport
from app.runtime.supervisor import Supervisor
from app.runtime.watchdog import WatchdogLimits
from app.runtime.watchdog_loop import WatchdogLoop, every_s
from tests.fakes.clock import FakeClock, settle
from tests.patience import PATIENCE_S

PLACE: PartitionId = ("events.raw", 0)


class Part:
    """A role that does what a test says."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self.ended = False
        self.said = RoleReport({PLACE: PartitionProgress(0)})
        self.waits_for: str | None = None

    async def run(self) -> None:
        try:
            await self._work()
        finally:
            self.ended = True

    def ready(self) -> str | None:
        return self.waits_for

    def report(self) -> RoleReport:
        return self.said


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def deaf() -> None:
    """Does not listen to its cancellation, once."""
    try:
        await for_ever()
    except asyncio.CancelledError:
        await for_ever()


async def fails() -> None:
    raise Unavailable("the broker is on holiday")


async def refused() -> None:
    raise PermissionError


class Stage:
    """One role under a supervisor and a watchdog."""

    def __init__(self, work: Callable[[], Awaitable[None]] = for_ever, *, restarts: int = 1) -> None:
        self.clock = FakeClock()
        self.meter = PrometheusMeter()
        self.parts: list[Part] = []
        self.work = work
        self.held_until_s: float | None = None
        self.obstacle: str | None = None
        self.supervisor = Supervisor(
            {"fanout": self._make},
            self.clock,
            self.meter,
            stuck_restarts=restarts,
            stuck_within_s=1000,
            obstacle=lambda name: self.obstacle,
            explain=lambda error: "a right is missing" if isinstance(error, PermissionError) else None,
        )
        limits = WatchdogLimits(suspect_s=30, stuck_s=120, settling_s=600)
        self.every_s = every_s(limits)
        self.watchdog = WatchdogLoop(limits, self.clock, self.supervisor, {"g": "fanout"}, lambda: self.held_until_s)

    def _make(self) -> Part:
        self.parts.append(Part(self.work))
        return self.parts[-1]

    async def start(self) -> None:
        self.supervisor.start()
        await settle()

    @property
    def says(self) -> str | None:
        return self.supervisor.readiness()["fanout"]

    def counted(self, metric: str) -> float:
        lines = self.meter.exposition().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"hookstream_{metric}"))

    async def watch(self, seconds: float, spans: dict[PartitionId, GroupSpan] | None) -> None:
        """Time passes with a look every five seconds."""
        for _ in range(round(seconds / self.every_s)):
            await self.clock.advance(self.every_s)
            self.watchdog.look("g", spans)
        await settle()


BEHIND = {PLACE: GroupSpan(0, 9)}


async def test_a_failing_role_reports_the_reason_and_its_next_start() -> None:
    stage = Stage(fails)
    await stage.start()
    assert stage.says == "restarting in 1 s: the broker is on holiday"
    for pause in (0.5, 1, 2, 4, 8, 10):
        await stage.clock.advance(pause - 0.1)
        built = len(stage.parts)
        await stage.clock.advance(0.1)
        assert len(stage.parts) == built + 1
    assert stage.says == "restarting in 10 s: the broker is on holiday"
    assert stage.counted('role_restarts_total{role="fanout"}') == 7
    assert await stage.supervisor.stop()


async def test_a_role_is_not_started_while_there_is_an_obstacle() -> None:
    stage = Stage(fails)
    stage.obstacle = "a topic is missing"
    await stage.start()
    await stage.clock.advance(60)
    assert (stage.parts, stage.says) == ([], "starting")
    stage.obstacle = None
    await stage.clock.advance(1)
    assert len(stage.parts) == 1
    stage.obstacle = "a topic is missing"
    await stage.clock.advance(60)
    assert len(stage.parts) == 1
    assert stage.says == "ended (the broker is on holiday), and not started again: a topic is missing"
    stage.obstacle, stage.work = None, for_ever
    await stage.clock.advance(1)
    assert stage.says is None
    await stage.supervisor.stop()


async def test_an_explained_error_is_no_defect() -> None:
    stage = Stage(refused)
    with capture_logs() as logs:
        await stage.start()
    assert stage.says == "restarting in 1 s: a right is missing"
    assert [each["event"] for each in logs] == ["role.restarting"]
    await stage.supervisor.stop()


async def test_after_a_good_minute_the_pause_is_short_again_and_the_reason_stays_while_it_starts() -> None:
    stage = Stage(fails)
    await stage.start()
    await stage.clock.advance(3.5)
    stage.work = for_ever
    await stage.clock.advance(10)
    assert stage.says is None
    stage.parts[-1].waits_for = "recovering tables"
    assert stage.says == "recovering tables (ended before: the broker is on holiday)"
    await stage.supervisor.stop()


async def test_a_failed_construction_of_a_role_is_retried() -> None:
    stage = Stage()
    made = stage._make
    broken = [True]

    def make() -> Part:
        if broken.pop() if broken else False:
            raise RuntimeError("no disk")
        return made()

    stage.supervisor = Supervisor({"fanout": make}, stage.clock, stage.meter)
    await stage.start()
    assert stage.says == "restarting in 1 s: RuntimeError('no disk')"
    await stage.clock.advance(0.5)
    assert stage.says is None
    await stage.supervisor.stop()


async def test_a_role_without_progress_is_suspect_then_replaced_with_the_reason() -> None:
    stage = Stage()
    await stage.start()
    await stage.watch(30, BEHIND)
    assert stage.says is None
    await stage.watch(5, BEHIND)
    assert stage.says == "behind by 9 in events.raw, partition 0, and nothing has moved for 30 s"
    assert stage.counted('watchdog_verdicts_total{role="fanout",verdict="suspect"}') == 1
    await stage.watch(85, BEHIND)
    assert len(stage.parts) == 1
    await stage.watch(5, BEHIND)
    assert stage.parts[0].ended
    assert stage.says is not None and stage.says.startswith(
        "restarting in 1 s: it was stuck: behind by 9 in events.raw"
    )
    assert stage.counted('watchdog_verdicts_total{role="fanout",verdict="stuck"}') == 1
    await stage.clock.advance(0.5)
    assert len(stage.parts) == 2 and stage.says is None
    await stage.supervisor.stop()


async def test_a_role_that_moves_again_is_ready_again() -> None:
    stage = Stage()
    await stage.start()
    await stage.watch(40, BEHIND)
    assert stage.says is not None
    stage.parts[0].said = RoleReport({PLACE: PartitionProgress(1)})
    await stage.watch(5, BEHIND)
    assert stage.says is None
    await stage.supervisor.stop()


async def test_neither_an_outage_nor_waiting_for_acknowledgements_is_being_stuck() -> None:
    stage = Stage()
    await stage.start()
    await stage.watch(1000, None)
    stage.held_until_s = stage.clock.monotonic() + 1000
    await stage.watch(995, BEHIND)
    assert stage.says is None and len(stage.parts) == 1
    await stage.watch(200, BEHIND)
    assert stage.parts[0].ended
    await stage.supervisor.stop()


async def test_a_repeatedly_stuck_role_is_given_up() -> None:
    stage = Stage(restarts=1)
    await stage.start()
    given_up = asyncio.create_task(stage.supervisor.given_up())
    await stage.watch(130, BEHIND)
    assert len(stage.parts) == 2 and not given_up.done()
    await stage.watch(130, BEHIND)
    assert "the role fanout is stuck: behind by 9 in events.raw" in await given_up
    assert len(stage.parts) == 2, "it is not built anew"
    assert stage.says is not None and stage.says.startswith("stuck: behind by 9")
    await stage.watch(100, BEHIND)
    assert stage.counted('watchdog_verdicts_total{role="fanout",verdict="stuck"}') == 2
    assert await stage.supervisor.stop()


async def test_a_stuck_role_that_does_not_stop_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runtime.supervisor._STUCK_STOP_S", 0.01)
    stage = Stage(deaf, restarts=5)
    await stage.start()
    await stage.watch(125, BEHIND)
    assert "and it does not stop" in await asyncio.wait_for(stage.supervisor.given_up(), PATIENCE_S)
    assert len(stage.parts) == 1 and not stage.parts[0].ended
    assert await stage.supervisor.stop()


async def test_without_restarts_a_stuck_role_is_given_up_at_once() -> None:
    stage = Stage(restarts=0)
    await stage.start()
    await stage.watch(130, BEHIND)
    assert "is stuck" in await stage.supervisor.given_up()
    assert len(stage.parts) == 1
    await stage.supervisor.stop()
