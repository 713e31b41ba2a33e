"""The replay role: what a pause has held back, what a disabled endpoint has missed, or a span of time once more.

One process of many is the worker (a consumer group elects it). It works on some replays at a time and tells the
registry how far each is, so that another process goes on there after a crash. The decisions are in
roles/replay/eligibility.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Literal

import structlog

from app.core.errors import CommandRefused, HookstreamError, Unavailable
from app.core.model.replay import Replay
from app.core.offsets.partitions import CommittedOffset, PartitionId
from app.core.offsets.progress import RoleReport
from app.core.records.command import AdvanceReplay
from app.ports.consumer import GroupConsumer
from app.ports.registry import CommandSender
from app.roles.replay import eligibility
from app.roles.replay.role.appender import PacedAppender, ReplayContext, StopReplay
from app.roles.replay.role.parked_replay import ParkedReplay
from app.roles.replay.role.range_replay import RangeReplay
from app.roles.replay.role.selector import LOOK_S, POLL_MS

log = structlog.get_logger(__name__)

#: replays worked on at once
_AT_ONCE = 8
#: then a replay makes room for one that waits
_TURN_S = 30.0
_AFTER_FAILURE_S = 5.0
#: what a crash repeats is what this time brings
_REPORT_S = 0.25
_STOP_S = 4.0
#: to say where it stopped
_FAREWELL_S = 1.0


class ReplayRole:
    """One candidate for the worker."""

    def __init__(self, source: GroupConsumer, around: ReplayContext) -> None:
        """`source` is a member of a group whose only partition names the worker; nothing is read of it."""
        self._source = source
        self._around = around
        self._joined = False
        self._chosen = False
        self._turns: dict[str, ReplayRun] = {}
        #: the directory's position when it was looked through
        self._looked = -1
        self._tasks: dict[str, asyncio.Task[None]] = {}
        #: what the directory may not know yet
        self._ended: set[str] = set()
        #: between two turns
        self._parked: dict[str, PacedAppender] = {}
        #: when a replay was begun last, for turns
        self._begun: dict[str, float] = {}

    def ready(self) -> str | None:
        """None once this process has joined; whether it or another one works, replays go on."""
        return None if self._joined else "joining the workers of replays"

    def report(self) -> RoleReport:
        """For the watchdog: it has no log to finish; its jobs wait for receivers, and begin again where they fail."""
        return RoleReport()

    async def run(self) -> None:
        """Work until cancelled; raises what a fresh instance may repair."""
        await self._source.start(self)
        self._joined = True
        try:
            while True:
                await self._source.poll(timeout_ms=POLL_MS)  # brings errors of the group to light, once a second
                self._collect()
                position = self._around.feed.position
                if self._chosen and (self._tasks or self._looked != position):
                    self._looked = position
                    self._steer()
        finally:
            self._joined = False
            await asyncio.gather(self._drop(), self._source.stop(), self._around.reader.close())

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""
        if any(place[1] == 0 for place in places):
            self._chosen = True

    async def revoked(self, places: set[PartitionId]) -> None:
        """Stop at once: another process goes on where the registry says."""
        if any(place[1] == 0 for place in places):
            self._chosen = False
            await self._drop()

    async def _drop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks, self._turns = {}, {}
        self._ended, self._parked, self._begun, self._looked = set(), {}, {}, -1
        for task in tasks:
            task.cancel()
        if tasks:
            ended, _ = await asyncio.wait(tasks, timeout=_STOP_S)
            await asyncio.gather(*ended, return_exceptions=True)

    def _collect(self) -> None:
        for replay_id in [each for each, task in self._tasks.items() if task.done()]:
            task = self._tasks.pop(replay_id)
            del self._turns[replay_id]
            self._looked = -1
            if not task.cancelled():
                task.result()

    def _steer(self) -> None:
        """Begin what may be begun, end what is no longer wanted."""
        replays = self._around.feed.directory.replays
        open_ids = {each.id for each in replays.values() if each.state in ("pending", "running")}
        kept = open_ids | {each.id for each in replays.values() if each.state == "paused"}
        for replay_id, task in self._tasks.items():
            if replay_id not in kept:
                task.cancel()
        self._ended &= kept
        self._parked = {each: said for each, said in self._parked.items() if each in kept}
        self._begun = {each: moment for each, moment in self._begun.items() if each in open_ids}
        waiting = [
            each
            for each in eligibility.workable(self._around.feed.directory, self._ended)
            if each.id not in self._tasks
        ]
        waiting.sort(key=lambda each: self._begun.get(each.id, 0.0))
        for replay in waiting[: max(0, _AT_ONCE - len(self._tasks))]:
            self._begin(replay)
        left = sum(each.id not in self._tasks for each in waiting)
        if left:
            self._make_room(left)

    def _begin(self, replay: Replay) -> None:
        self._begun[replay.id] = self._around.clock.monotonic()
        turn = self._turns[replay.id] = ReplayRun(self._parked.get(replay.id) or PacedAppender(replay, self._around))
        self._tasks[replay.id] = asyncio.create_task(self._keep(turn), name=replay.id)

    def _make_room(self, wanted: int) -> None:
        """The one that has been appending longest has had its turn."""
        if sum(turn.giving.yielding for turn in self._turns.values()) >= wanted:
            return
        now_s = self._around.clock.monotonic()
        since = {turn.giving.since: turn.giving for turn in self._turns.values() if not turn.giving.yielding}
        oldest = min((moment for moment in since if moment is not None), default=now_s)
        if now_s - oldest >= _TURN_S:
            since[oldest].yielding = True

    async def _keep(self, turn: ReplayRun) -> None:
        """Work on one replay; a failure does not touch the others."""
        while True:
            try:
                ended = await turn.run()
            except HookstreamError as error:
                log.warning("replay.failed", replay=turn.id, error=str(error), again_in_s=_AFTER_FAILURE_S)
                await self._around.clock.sleep(_AFTER_FAILURE_S)
                continue
            if ended:
                self._ended.add(turn.id)
            else:
                self._parked[turn.id] = turn.giving
            return


class ReplayRun:
    """One turn of work on one replay."""

    def __init__(self, giving: PacedAppender) -> None:
        self.id = giving.replay.id
        self.giving = giving
        self._clock = giving.around.clock

    def progress(self, state: Literal["running", "done"]) -> AdvanceReplay:
        """What the registry is told."""
        done, sent, parked, skipped = self.giving.told()
        return AdvanceReplay(self.id, done, sent, state, parked, skipped)

    async def run(self) -> bool:
        """Until there is nothing to do now; False: there will be later. Raises a `HookstreamError` to begin again."""
        giving = self.giving
        async with giving.around.commands() as commands:
            why: Literal["done", "over", "parked"] = "done"
            try:
                giving.look()
                log.info(
                    "replay.begun", replay=self.id, reason=giving.replay.reason, endpoint=giving.replay.endpoint_id
                )
                await giving.prepare()
                work = ParkedReplay(giving) if giving.replay.reason == "resume" else RangeReplay(giving)
                await _first(work.run(), giving.tail(), self._report(commands))
            except StopReplay as leave:
                why = leave.why
            except asyncio.CancelledError:
                try:
                    async with asyncio.timeout(_FAREWELL_S):
                        await self._tell(commands, "running")
                except TimeoutError:
                    pass  # then the next worker repeats a second's deliveries
                raise
            log.info("replay.ended", replay=self.id, result=why, sent=giving.sent)
            if why == "parked":
                await self._tell(commands, "running")
            elif why == "done":
                while not await self._tell(commands, "done"):
                    await self._clock.sleep(LOOK_S)
            return why != "parked"

    async def _report(self, commands: CommandSender) -> None:
        told: AdvanceReplay | None = None
        while True:
            now = self.progress("running")
            if now != told and await self._tell(commands, "running"):
                told = now
            await self._clock.sleep(_REPORT_S)
            await self.giving.progressed()

    async def _tell(self, commands: CommandSender, state: Literal["running", "done"]) -> bool:
        try:
            await commands.call(self.progress(state), entity=f"replay/{self.id}")
        except CommandRefused as error:
            log.info("replay.refused", replay=self.id, error=error.detail)
        except Unavailable as error:
            log.warning("replay.untold", replay=self.id, error=str(error))
            return False
        return True


async def _first(work: Coroutine[Any, Any, None], *beside: Coroutine[Any, Any, None]) -> None:
    """Run until `work` ends or one of the others fails; then end them all."""
    tasks = [asyncio.create_task(each) for each in (work, *beside)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
