"""The lanes of a dispatch worker at work: offer deliveries, send what the lanes release, defer what they refuse."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.offsets.partitions import OpenPartition, PartitionId
from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.roles.committer import Committer
from app.roles.dispatch.lanes import LaneFull, LaneLimits, Lanes
from app.roles.dispatch.role.delivery_sender import DeliverySender
from app.roles.dispatch.role.ordered_intake import OrderedIntake
from app.roles.dispatch.role.settler import OpenDelivery, Settler
from app.roles.dispatch.wait_limits import next_look_ms

_SWEEP_EVERY_S = 1.0
#: an event loop that is later than this has no CPU to spare
_ON_TIME_S = 0.003


class LaneWorkers:
    """The lanes of one dispatch worker, and the tasks that send their deliveries."""

    def __init__(
        self,
        *,
        sender: DeliverySender,
        committer: Committer,
        intake: OrderedIntake,
        settler: Settler,
        clock: Clock,
        meter: Meter,
        limits: LaneLimits,
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._sender = sender
        self._committer = committer
        self._intake = intake
        #: deliveries that wait to be admitted
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
        """Whether the lanes are full."""
        return self._lanes.saturated()

    def clear(self) -> None:
        """Drop waiting deliveries, so that no new request begins."""
        self._lanes.clear()

    async def stop(self) -> None:
        """Cancel everything in progress."""
        for timer in (self._alarm, self._widening):
            if timer is not None:
                timer.cancel()
        for task in self._workers:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def enter(self, work: OpenDelivery) -> None:
        """Admit a delivery that was read, or let it wait for the others of its ordering key."""
        for each in self._intake.enter(work):
            self.admit(each)

    def catch_up(self, position: Callable[[PartitionId], int | None]) -> None:
        """See `OrderedIntake.catch_up`."""
        for each in self._intake.catch_up(position):
            self.admit(each)

    def admit(self, work: OpenDelivery) -> None:
        """Offer a delivery to its endpoint's lane, if it may be sent; `send_ready` must follow.

        If it is settled by that, or was before, the next one of its ordering key is admitted.
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
            for each in self._intake.leave(work):
                self.admit(each)

    def _offer(self, work: OpenDelivery) -> None:
        endpoint = self._sender.sendable(work)
        if endpoint is None:
            return
        delivery = work.delivery
        full = self._lanes.offer(
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
        if full is not None:
            self._defer(work, full, full.why)
        if self._lanes.changes:
            self._signal_circuits(work.partition)

    def _open_since_ms(self, endpoint: Endpoint) -> float | None:
        """Since when the endpoint's circuit is open according to the registry, in the lanes' time."""
        if endpoint.circuit is None:
            return None
        return self._lane_ms() - (self._clock.now_ms() - endpoint.circuit.since_ms)

    def _defer(self, work: OpenDelivery, full: LaneFull, reason: str) -> None:
        """Defer a delivery, or end it if it has waited for too long."""
        if not work.partition.active:
            return  # the partition's next owner has it
        now_ms = self._clock.now_ms()
        since_ms = min(work.delivery.waiting_since_ms or now_ms, now_ms)
        due_ms = next_look_ms(self._due_ms(full.until_ms), since_ms, self._sender.wait_limit_ms(work), now_ms)
        if due_ms is None:
            self._sender.end_overloaded(work, since_ms)
        else:
            self._settler.defer(work, due_ms, reason, since_ms=since_ms)

    def _signal_circuits(self, partition: OpenPartition) -> None:
        """Signal the circuits that have changed: those of endpoints in one partition."""
        for change in self._lanes.changes:
            self._meter.count("circuit_transitions_total", to=change.to)
            self._changed.setdefault(partition.number, set()).add(change.endpoint_id)
            endpoint = self._sender.endpoint(change.endpoint_id)
            if endpoint is None or change.to == "half_open":  # an open one whose probe is due
                continue
            mark = OpenCircuit(since_ms=self._due_ms(change.since_ms), probe_at_ms=self._due_ms(change.probe_at_ms))
            self._settler.signal_circuit(partition, endpoint, mark if change.to == "open" else None)
        self._lanes.changes.clear()

    def assigned(self, places: Iterable[PartitionId]) -> None:
        """Partitions were assigned: another worker may have changed the circuits of their endpoints."""
        for _, number in places:
            for endpoint_id in self._changed.pop(number, ()):
                self._lanes.forget_circuit(endpoint_id)

    def _lane_ms(self) -> float:
        """The lanes' time, which is monotonic: a jump of the wall clock must not look like a request that hangs."""
        return self._clock.monotonic() * 1000

    def _due_ms(self, lane_ms: float) -> int:
        """The wall-clock time of a time of the lanes, in ms since the epoch."""
        return self._clock.now_ms() + round(lane_ms - self._lane_ms())

    def send_ready(self) -> None:
        """Hand the deliveries that the lanes release to idle workers, or to new ones."""
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
        """Allow more requests at once, as long as the event loop is on time: the CPU is not saturated."""
        try:
            while self._lanes.too_narrow():
                begun_s = self._clock.monotonic()
                await self._clock.sleep(_ON_TIME_S)
                if self._clock.monotonic() - begun_s < 2 * _ON_TIME_S:
                    self._lanes.widen()
                    break
        finally:
            self._widening = None
        self.send_ready()

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
        self.send_ready()

    async def _worker(self, work: OpenDelivery | None) -> None:
        try:
            while True:
                if work is None:
                    waiting: asyncio.Future[OpenDelivery] = asyncio.get_running_loop().create_future()
                    self._idle.append(waiting)
                    work = await waiting
                work = self._lanes.take(await self._handle(work))
                if self._lanes.waiting:
                    self.send_ready()
        except Exception as error:  # if a worker died silently, its delivery would stay open for ever
            self._on_failure(error)

    async def _handle(self, work: OpenDelivery) -> float:
        """Send a delivery. Returns the lanes' time at the end."""
        answered: bool | None = None
        work.partition.flying += 1
        try:
            if not self._committer.sure():
                await self._committer.certainty()
            if work.partition.active:
                answered = await self._sender.attempt(work)
        finally:
            work.partition.flying -= 1
            now_ms = self._lane_ms()
            self._lanes.done(work.delivery.endpoint_id, work, now_ms, answered=answered)
            if self._lanes.changes:
                self._signal_circuits(work.partition)
            self._leave(work)
        return now_ms

    async def sweep_loop(self) -> None:
        """Defer deliveries that wait for endpoints that have slowed down, once a second."""
        while True:
            await self._clock.sleep(_SWEEP_EVERY_S)
            self._lanes.narrow()
            self._meter.gauge("lane_deliveries", self._lanes.waiting)
            self._meter.gauge("attempts_in_flight", self._lanes.in_flight)
            self._meter.gauge("circuits_open", self._lanes.circuits_open)
            if self._lanes.waiting:
                for work, full in self._lanes.stalled(self._lane_ms()):
                    self._defer(work, full, "lane_stalled" if full.why == "lane_full" else full.why)
                    self._leave(work)
                self.send_ready()
