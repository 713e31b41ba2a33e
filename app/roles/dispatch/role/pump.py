"""From the lanes to the workers: offer deliveries, hand out what the lanes release, give back what they cannot hold."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.offsets.partitions import OpenPartition, PartitionId
from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.roles.committer import Committer
from app.roles.dispatch import waiting
from app.roles.dispatch.lanes import LaneFull, LaneLimits, Lanes
from app.roles.dispatch.role.in_line import InLine
from app.roles.dispatch.role.sending import Sending
from app.roles.dispatch.role.settler import OpenDelivery, Settler

_SWEEP_EVERY_S = 1.0
#: a loop that is late by more than this has no CPU to spare
_PATIENCE_S = 0.003


class Pump:
    """The lanes of one dispatch worker, and the tasks that work them off."""

    def __init__(
        self,
        *,
        sending: Sending,
        commits: Committer,
        in_line: InLine,
        settler: Settler,
        clock: Clock,
        meter: Meter,
        limits: LaneLimits,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._sending = sending
        self._commits = commits
        self._in_line = in_line
        #: what is to be admitted
        self._entering: deque[OpenDelivery] = deque()
        self._admitting = False
        self._settler = settler
        self._clock = clock
        self._meter = meter
        self._on_failure = on_failure
        self._lanes: Lanes[OpenDelivery] = Lanes(limits)
        self._idle: list[asyncio.Future[OpenDelivery]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_ms = 0.0
        self._widening: asyncio.Task[None] | None = None
        #: partition → endpoints whose circuit was changed here
        self._changed: dict[int, set[str]] = {}

    def saturated(self) -> bool:
        """Whether the lanes hold as much as they may."""
        return self._lanes.saturated()

    def clear(self) -> None:
        """Forget what waits: nothing new begins."""
        self._lanes.clear()

    async def stop(self) -> None:
        """End what is under way, wherever it is."""
        for timer in (self._alarm, self._widening):
            if timer is not None:
                timer.cancel()
        for task in self._workers:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def enter(self, work: OpenDelivery) -> None:
        """Admit what has been read, or have it wait in its line."""
        for each in self._in_line.enter(work):
            self.admit(each)

    def catch_up(self, position: Callable[[PartitionId], int | None]) -> None:
        """See `InLine.catch_up`."""
        for each in self._in_line.catch_up(position):
            self.admit(each)

    def admit(self, work: OpenDelivery) -> None:
        """Into the lane of its endpoint, if it may be sent and there is room; `pump` must follow.

        What is settled with that, or was before, leaves its line, and its successor is admitted.
        """
        self._entering.append(work)
        if self._admitting:
            return
        self._admitting = True
        try:
            while self._entering:
                each = self._entering.popleft()
                if not each.settled:
                    self._offer(each)
                self._leave(each)
        finally:
            self._admitting = False

    def _leave(self, work: OpenDelivery) -> None:
        if work.settled or not work.partition.active:
            for each in self._in_line.left(work):
                self.admit(each)

    def _offer(self, work: OpenDelivery) -> None:
        endpoint = self._sending.sendable(work)
        if endpoint is None:
            return
        delivery = work.delivery
        answer = self._lanes.offer(
            endpoint.id,
            work,
            self._lane_ms(),
            cap=endpoint.max_in_flight,
            rate=endpoint.rate_limit,
            epoch=endpoint.epoch,
            open_since_ms=self._open_since_ms(endpoint),
            again=delivery.waiting_since_ms > 0,
            urgent=delivery.manual is not None,
        )
        if answer is not None:
            self._put_off(work, answer, answer.why)
        if self._lanes.changes:
            self._circuits(work.partition)

    def _open_since_ms(self, endpoint: Endpoint) -> float | None:
        """Since when the registry calls the endpoint's circuit open, as a time of the lanes."""
        if endpoint.circuit is None:
            return None
        return self._lane_ms() - (self._clock.now_ms() - endpoint.circuit.since_ms)

    def _put_off(self, work: OpenDelivery, full: LaneFull, reason: str) -> None:
        """Defer it, or end it where it has waited for too long."""
        if not work.partition.active:
            return  # its next owner has it
        now_ms = self._clock.now_ms()
        since_ms = min(work.delivery.waiting_since_ms or now_ms, now_ms)
        due_ms = waiting.due_ms(self._due_ms(full.until_ms), since_ms, self._sending.wait_limit_ms(work), now_ms)
        if due_ms is None:
            self._sending.overloaded(work, since_ms)
        else:
            self._settler.defer(work, due_ms, reason, since_ms=since_ms)

    def _circuits(self, partition: OpenPartition) -> None:
        """Tell of the circuits that have changed: those of endpoints in one partition."""
        for change in self._lanes.changes:
            self._meter.count("circuit_transitions_total", to=change.to)
            self._changed.setdefault(partition.number, set()).add(change.endpoint_id)
            endpoint = self._sending.endpoint(change.endpoint_id)
            if endpoint is None or change.to == "half_open":  # which is an open one whose probe is due
                continue
            mark = OpenCircuit(since_ms=self._due_ms(change.since_ms), probe_at_ms=self._due_ms(change.probe_at_ms))
            self._settler.circuit(partition, endpoint, mark if change.to == "open" else None)
        self._lanes.changes.clear()

    def assigned(self, places: Iterable[PartitionId]) -> None:
        """These are ours from now on: somebody else may have changed the circuits of their endpoints."""
        for _, number in places:
            for endpoint_id in self._changed.pop(number, ()):
                self._lanes.forget_circuit(endpoint_id)

    def _lane_ms(self) -> float:
        """The time of the lanes: a jump of the wall clock must not look like a request that hangs for an hour."""
        return self._clock.monotonic() * 1000

    def _due_ms(self, lane_ms: float) -> int:
        """A time of the lanes as one of the wall clock."""
        return self._clock.now_ms() + round(lane_ms - self._lane_ms())

    def pump(self) -> None:
        """Hand what the lanes release to idle workers, or to new ones up to the limit."""
        now_ms = self._lane_ms()
        while (work := self._lanes.take(now_ms)) is not None:
            if self._idle:
                self._idle.pop().set_result(work)
            else:
                task = asyncio.create_task(self._worker(work))
                self._workers.add(task)
                task.add_done_callback(self._workers.discard)
        self._set_alarm(now_ms)
        if self._widening is None and self._lanes.too_narrow():
            self._widening = asyncio.create_task(self._widen())

    async def _widen(self) -> None:
        """More requests at once, as long as the event loop is on time, which it is not when the CPU is used up."""
        try:
            while self._lanes.too_narrow():
                begun = self._clock.monotonic()
                await self._clock.sleep(_PATIENCE_S)
                if self._clock.monotonic() - begun < 2 * _PATIENCE_S:
                    self._lanes.widen()
                    break
        finally:
            self._widening = None
        self.pump()

    def _set_alarm(self, now_ms: float) -> None:
        wake_ms = self._lanes.wake_at_ms()
        if wake_ms is None or (self._alarm is not None and self._alarm_ms <= wake_ms):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = wake_ms
        self._alarm = asyncio.create_task(self._ring((wake_ms - now_ms) / 1000))

    async def _ring(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._alarm = None
        self.pump()

    async def _worker(self, work: OpenDelivery | None) -> None:
        try:
            while True:
                if work is None:
                    waiting: asyncio.Future[OpenDelivery] = asyncio.get_running_loop().create_future()
                    self._idle.append(waiting)
                    work = await waiting
                await self._handle(work)
                work = self._lanes.take(self._lane_ms())
                if self._lanes.waiting:
                    self.pump()
        except Exception as error:  # a worker must not die silently: its delivery would stay open for ever
            self._on_failure(error)

    async def _handle(self, work: OpenDelivery) -> None:
        answered: bool | None = None
        work.partition.flying += 1
        try:
            await self._commits.certainty()
            if work.partition.active:
                answered = await self._sending.attempt(work)
        finally:
            work.partition.flying -= 1
            self._lanes.done(work.delivery.endpoint_id, work, self._lane_ms(), answered=answered)
            if self._lanes.changes:
                self._circuits(work.partition)
            self._leave(work)

    async def sweep_loop(self) -> None:
        """Give back what waits behind endpoints that have slowed down."""
        while True:
            await self._clock.sleep(_SWEEP_EVERY_S)
            self._lanes.narrow()
            self._meter.gauge("lane_deliveries", self._lanes.waiting)
            self._meter.gauge("attempts_in_flight", self._lanes.in_flight)
            self._meter.gauge("circuits_open", self._lanes.circuits_open)
            if self._lanes.waiting:
                for work, full in self._lanes.stalled(self._lane_ms()):
                    self._put_off(work, full, "lane_stalled" if full.why == "lane_full" else full.why)
                    self._leave(work)
                self.pump()
