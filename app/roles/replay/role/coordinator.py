"""The replay role: delivers what a pause has parked, what a disabled endpoint has missed, or a time range again.

A consumer group elects one process as the worker. It works on several replays at a time and reports the progress of
each to the registry, so that another process continues there after a crash. Which replays it works on is decided in
roles/replay/eligibility.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, assert_never

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
from app.roles.replay.role.selector import CHECK_S, POLL_MS

logger = structlog.get_logger(__name__)

#: replays worked on at the same time
_AT_ONCE = 8
#: seconds after which a replay makes room for one that waits
_RUN_S = 30.0
_AFTER_FAILURE_S = 5.0
#: seconds between two reports; after a crash the deliveries of that time are repeated
_REPORT_S = 0.25
_STOP_S = 4.0
#: seconds for the last report of a run that is cancelled
_LAST_REPORT_S = 1.0


class ReplayRole:
    """One candidate for the worker."""

    def __init__(self, source: GroupConsumer, context: ReplayContext) -> None:
        """`source` is a member of the group that elects the worker: the owner of partition 0. It reads nothing."""
        self._source = source
        self._context = context
        self._joined = False
        self._elected = False
        self._runs: dict[str, ReplayRun] = {}
        #: the directory's position when replays were scheduled last; -1: schedule again
        self._scheduled_at = -1
        self._tasks: dict[str, asyncio.Task[None]] = {}
        #: replays that have ended, although the directory may not show it yet
        self._ended: set[str] = set()
        #: appenders of replays between two runs
        self._waiting: dict[str, PacedAppender] = {}
        #: replay → when its last run began, in seconds of the monotonic clock
        self._begun: dict[str, float] = {}

    def ready(self) -> str | None:
        """None once this process has joined the group, even if another one is the worker; otherwise the reason."""
        return None if self._joined else "joining the group of replay workers"

    def report(self) -> RoleReport:
        """Nothing for the watchdog: runs wait for receivers, and begin again after a failure."""
        return RoleReport()

    async def run(self) -> None:
        """Work until cancelled. Raises errors that a fresh instance may not have."""
        await self._source.start(self)
        self._joined = True
        try:
            while True:
                await self._source.poll(timeout_ms=POLL_MS)  # raises errors of the group, once a second
                self._collect()
                position = self._context.feed.position
                if self._elected and (self._tasks or self._scheduled_at != position):
                    self._scheduled_at = position
                    self._schedule()
        finally:
            self._joined = False
            await asyncio.gather(self._drop(), self._source.stop(), self._context.reader.close())

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        """See `app.ports.consumer.RebalanceListener`."""
        if any(place[1] == 0 for place in places):
            self._elected = True

    async def revoked(self, places: set[PartitionId]) -> None:
        """Stop at once: another process continues at the progress in the registry."""
        if any(place[1] == 0 for place in places):
            self._elected = False
            await self._drop()

    async def _drop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks, self._runs = {}, {}
        self._ended, self._waiting, self._begun, self._scheduled_at = set(), {}, {}, -1
        for task in tasks:
            task.cancel()
        if tasks:
            ended, _ = await asyncio.wait(tasks, timeout=_STOP_S)
            await asyncio.gather(*ended, return_exceptions=True)

    def _collect(self) -> None:
        for replay_id in [each for each, task in self._tasks.items() if task.done()]:
            task = self._tasks.pop(replay_id)
            del self._runs[replay_id]
            self._scheduled_at = -1
            if not task.cancelled():
                task.result()

    def _schedule(self) -> None:
        """Begin runs of workable replays, and cancel those of replays that were cancelled or removed."""
        replays = self._context.feed.directory.replays
        open_ids = {each.id for each in replays.values() if each.state in ("pending", "running")}
        existing = open_ids | {each.id for each in replays.values() if each.state == "paused"}
        for replay_id, task in self._tasks.items():
            if replay_id not in existing:
                task.cancel()
        self._ended &= existing
        self._waiting = {each: appender for each, appender in self._waiting.items() if each in existing}
        self._begun = {each: at_s for each, at_s in self._begun.items() if each in open_ids}
        waiting = [
            each
            for each in eligibility.workable(self._context.feed.directory, self._ended)
            if each.id not in self._tasks
        ]
        waiting.sort(key=lambda each: self._begun.get(each.id, 0.0))
        for replay in waiting[: max(0, _AT_ONCE - len(self._tasks))]:
            self._begin(replay)
        left = sum(each.id not in self._tasks for each in waiting)
        if left:
            self._make_room(left)

    def _begin(self, replay: Replay) -> None:
        self._begun[replay.id] = self._context.clock.monotonic()
        run = self._runs[replay.id] = ReplayRun(self._waiting.get(replay.id) or PacedAppender(replay, self._context))
        self._tasks[replay.id] = asyncio.create_task(self._work_on(run), name=replay.id)

    def _make_room(self, wanted: int) -> None:
        """Ask the run that has been appending longest to yield, once it has had its time."""
        if sum(run.appender.yielding for run in self._runs.values()) >= wanted:
            return
        now_s = self._context.clock.monotonic()
        since = {run.appender.since: run.appender for run in self._runs.values() if not run.appender.yielding}
        oldest = min((at_s for at_s in since if at_s is not None), default=now_s)
        if now_s - oldest >= _RUN_S:
            since[oldest].yielding = True

    async def _work_on(self, run: ReplayRun) -> None:
        """Work on one replay until its run ends. A failure repeats the run and does not affect others."""
        while True:
            try:
                ended = await run.run()
            except HookstreamError as error:
                logger.warning("replay.failed", replay=run.id, error=str(error), again_in_s=_AFTER_FAILURE_S)
                await self._context.clock.sleep(_AFTER_FAILURE_S)
                continue
            if ended:
                self._ended.add(run.id)
            else:
                self._waiting[run.id] = run.appender
            return


class ReplayRun:
    """One run: work on a replay until it ends or yields."""

    def __init__(self, appender: PacedAppender) -> None:
        self.id = appender.replay.id
        self.appender = appender
        self._clock = appender.context.clock

    def progress(self, state: Literal["running", "done"]) -> AdvanceReplay:
        """The command that reports the progress."""
        done, sent, parked, skipped = self.appender.progress()
        return AdvanceReplay(self.id, done, sent, state, parked, skipped)

    async def run(self) -> bool:
        """Work until the replay has ended (True), or has to wait (False). Raises `HookstreamError` to begin again."""
        appender = self.appender
        async with appender.context.commands() as commands:
            why: Literal["done", "over", "parked"] = "done"
            try:
                appender.check_still_wanted()
                logger.info(
                    "replay.begun", replay=self.id, reason=appender.replay.reason, endpoint=appender.replay.endpoint_id
                )
                await appender.prepare()
                work = ParkedReplay(appender) if appender.replay.reason == "resume" else RangeReplay(appender)
                await _first(work.run(), appender.tail(), self._report(commands))
            except StopReplay as stop:
                why = stop.why
            except asyncio.CancelledError:
                try:
                    async with asyncio.timeout(_LAST_REPORT_S):
                        await self._send_progress(commands, "running")
                except TimeoutError:
                    pass  # the next worker repeats the deliveries since the last report
                raise
            logger.info("replay.ended", replay=self.id, result=why, sent=appender.sent)
            match why:
                case "parked":
                    await self._send_progress(commands, "running")
                case "done":
                    while not await self._send_progress(commands, "done"):
                        await self._clock.sleep(CHECK_S)
                case "over":
                    pass
                case _:
                    assert_never(why)
            return why != "parked"

    async def _report(self, commands: CommandSender) -> None:
        reported: AdvanceReplay | None = None
        while True:
            now = self.progress("running")
            if now != reported and await self._send_progress(commands, "running"):
                reported = now
            await self._clock.sleep(_REPORT_S)
            await self.appender.wait_for_appends()

    async def _send_progress(self, commands: CommandSender, state: Literal["running", "done"]) -> bool:
        try:
            await commands.call(self.progress(state), entity=f"replay/{self.id}")
        except CommandRefused as error:
            logger.info("replay.refused", replay=self.id, error=error.detail)
        except Unavailable as error:
            logger.warning("replay.progress_not_sent", replay=self.id, error=str(error))
            return False
        return True


async def _first(work: Coroutine[Any, Any, None], *beside: Coroutine[Any, Any, None]) -> None:
    """Run all until `work` ends or one of the others fails; then cancel the rest."""
    tasks = [asyncio.create_task(each) for each in (work, *beside)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
