"""The dispatch loop: poll deliveries, offer them to lanes, send what the lanes release, settle, commit.

Rules of this file
- An offset is finished only by `Settler`, after the acknowledgement of everything that its delivery caused.
- Polling stops only while too much is open in total; a single endpoint's overflow is deferred instead.
- After a revocation nothing of the old assignment counts: work carries its `Partition`, which knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from app.core import delivery_record
from app.core.attempt import sent
from app.core.errors import ConfigError, Defect, MalformedEvent, Unrepresentable
from app.core.exchange import Reply
from app.core.lanes import Full, Lanes, Limits
from app.core.model import Delivery, Endpoint
from app.core.partitions import Committed, Partition, Place
from app.core.topics import Names, Topics
from app.core.verdict import Dead, Delivered, RetryAt, judge, result_of
from app.core.watchdog import Report, progress_of
from app.ports import BundleLog, Clock, Dice, DirectoryFeed, KeyRing, Meter, Record, Sender, Source
from app.profiles.requests import RequestBuilder
from app.roles.commits import Commits
from app.roles.dispatch.settle import Settler, Work
from app.roles.dispatch.turns import Turns

log = structlog.get_logger(__name__)

#: deliveries that may be open at once in one worker: what a crash may repeat at most
MAX_OPEN = 10_000
#: and their values' bytes
MAX_OPEN_BYTES = 256 * 1024 * 1024
_SWEEP_EVERY_S = 1.0
#: what is read long before it is sent only costs memory and cache misses
_POLLED = 500
_FULL_S = 0.005
#: a loop that is late by more than this has no CPU to spare
_PATIENCE_S = 0.003
_REVOKE_WAIT_S = 3.0
#: until then an operator may have repaired the key ring; nothing is counted against the delivery
_SECRET_WAIT_MS = 30_000


class DispatchRole:
    """One dispatch worker."""

    def __init__(
        self, *, source: Source, log_: BundleLog, sender: Sender, feed: DirectoryFeed, keyring: KeyRing,
        topics: Topics, clock: Clock, dice: Dice, meter: Meter, limits: Limits, time_scale: float = 1.0,
    ) -> None:  # fmt: skip
        self._source = source
        self._log = log_
        self._sender = sender
        self._feed = feed
        self._turns = Turns(feed)
        self._clock = clock
        self._dice = dice
        self._meter = meter
        self._builder = RequestBuilder(keyring.open, time_scale)
        self._commits = Commits(source, clock)
        self._partitions = self._commits.partitions
        self._lanes: Lanes[Work] = Lanes(limits)
        self._max_record_bytes = topics.max_record_bytes
        self._settler = Settler(log_, topics, clock, meter, self._fail)
        self._idle: list[asyncio.Future[Work]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_ms = 0.0
        self._widening: asyncio.Task[None] | None = None
        #: by then (monotonic) every request under way has ended
        self._answered_by_s = 0.0
        self._failed: asyncio.Future[None] | None = None

    def ready(self) -> str | None:
        """None when a new delivery would be sent; else why not."""
        return None if self._partitions.known else "waiting for the assignment of partitions"

    def report(self) -> Report:
        """For the watchdog. A move is: a record was read or finished. Requests under way may wait for their timeout."""
        full = self._has_enough()
        places = {}
        for partition in self._partitions.of(self._partitions.places()):
            waits = full or (partition.watermark is not None and partition.watermark.open)
            places[partition.place] = progress_of(
                partition, self._source.position(partition.place), self._answered_by_s if waits else None
            )
        return Report(places, settling=self.ready())

    async def run(self) -> None:
        """Work until cancelled; raises what a restart of the role may repair."""
        self._failed = asyncio.get_running_loop().create_future()
        await self._source.start(self)
        loops = [asyncio.create_task(each) for each in (self._poll_loop(), self._commits.run(), self._sweep_loop())]
        try:
            await asyncio.wait([self._failed, *loops], return_when=asyncio.FIRST_COMPLETED)
            for task in loops:
                if task.done():
                    task.result()
            self._failed.result()
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._stop()

    async def _stop(self) -> None:
        """Finish what is in flight (bounded), commit, leave the group."""
        self._lanes.clear()
        await self._until_settled(self._partitions.places())
        for timer in (self._alarm, self._widening):
            if timer is not None:
                timer.cancel()
        for task in self._workers:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        try:
            await self._commits.commit()
        finally:
            await self._source.stop()
        if self._failed is not None and self._failed.done() and not self._failed.cancelled():
            self._failed.exception()

    # --- partitions ---------------------------------------------------------------------------------------------

    async def assigned(self, places: Mapping[Place, Committed]) -> None:
        """See `app.ports.PartitionListener`."""
        self._partitions.add(places)
        self._settler.assigned(places)
        self._meter.count("rebalances_total", role="dispatch")

    async def revoked(self, places: set[Place]) -> None:
        """Wait (bounded) for what is in flight, commit, forget the rest: its next owner sends it."""
        leaving = self._partitions.of(places)
        for partition in leaving:
            partition.active = False
        await self._until_settled(places)
        await self._commits.commit()
        self._partitions.remove(places)

    async def _until_settled(self, places: set[Place]) -> None:
        """Wait (bounded) until nothing of these is in flight or waits for an acknowledgement that may come."""
        deadline = self._clock.monotonic() + _REVOKE_WAIT_S
        while self._partitions.busy(places) and not self._has_failed() and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)

    # --- intake -------------------------------------------------------------------------------------------------

    async def _poll_loop(self) -> None:
        while True:
            await self._log.room()
            while self._has_enough():
                await self._clock.sleep(_FULL_S)
            batches = await self._source.poll(timeout_ms=1000, max_records=_POLLED)
            polled_at = self._clock.monotonic()
            # Told apart before the first wait: the same place may be another assignment afterwards.
            taken = [(self._partitions.get(place), records) for place, records in batches.items()]
            for partition, records in taken:
                if partition is not None:
                    await self._take_in(partition, records, polled_at)
            self._pump()

    def _has_enough(self) -> bool:
        return (
            self._lanes.saturated()
            or self._partitions.open >= MAX_OPEN
            or self._partitions.open_bytes >= MAX_OPEN_BYTES
        )

    def _is_active(self, endpoint_id: str) -> bool:
        endpoint = self._feed.directory.endpoint(endpoint_id)
        return endpoint is not None and endpoint.status == "active"

    async def _take_in(self, partition: Partition, records: Sequence[Record], polled_at: float) -> None:
        for record in records:
            if not partition.active:
                return
            size = len(record.value or b"")
            if not partition.opened(record.offset, size):
                continue
            try:
                if delivery_record.size_of(record) > self._max_record_bytes:
                    raise Defect("it is larger than a delivery can be")
                delivery, position = delivery_record.decode(record.key, record.value, record.headers)
            except Defect as error:
                log.error("dispatch.unreadable", place=partition.place, offset=record.offset, error=str(error))
                self._meter.count("records_unreadable_total", topic=Names.DELIVERIES)
                partition.finished(record.offset, size)
                continue
            if position > self._feed.position:
                await self._feed.fence(polled_at)  # not up to `position`: the registry may never get there
            if not self._is_active(delivery.endpoint_id):
                await self._feed.fence(polled_at)  # it may be again, and we the last to hear of it
            if not partition.active:
                return
            self._admit(Work(delivery, partition, record.offset))

    def _admit(self, work: Work) -> None:
        endpoint = self._feed.directory.endpoint(work.delivery.endpoint_id)
        if not self._sendable(work, endpoint) or endpoint is None:
            return
        answer = self._lanes.offer(
            endpoint.id, work, self._lane_ms(), cap=endpoint.max_in_flight, rate=endpoint.rate_limit
        )  # fmt: skip
        if isinstance(answer, Full):
            self._settler.defer(work, self._due_ms(answer.until_ms), "lane_full")

    def _lane_ms(self) -> float:
        """The time of the lanes: a jump of the wall clock must not look like a request that hangs for an hour."""
        return self._clock.monotonic() * 1000

    def _due_ms(self, lane_ms: float) -> int:
        """A time of the lanes as one of the wall clock."""
        return self._clock.now_ms() + round(lane_ms - self._lane_ms())

    def _sendable(self, work: Work, endpoint: Endpoint | None) -> bool:
        """Whether the endpoint may be called with it; if not, the delivery or this copy of it ends here, or waits."""
        fate = self._turns.fate(work)
        if fate == "pass":
            self._settler.passed_over(work)
        elif fate == "cancel":
            self._settler.ended(work, endpoint, "cancelled", "cancelled", "it was cancelled on request")
        elif fate == "held":
            return False
        elif endpoint is None:
            self._settler.ended(work, None, "cancelled", "endpoint_removed", "the endpoint was removed")
        elif endpoint.status == "disabled":
            self._settler.ended(work, endpoint, "cancelled", "endpoint_disabled", "the endpoint is disabled")
        elif endpoint.status == "paused":
            self._settler.ended(work, endpoint, "dead", "paused", "the endpoint is paused: kept for its resume")
        else:
            return True
        return False

    # --- sending ------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
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
        self._pump()

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
        self._pump()

    async def _worker(self, work: Work | None) -> None:
        try:
            while True:
                if work is None:
                    waiting: asyncio.Future[Work] = asyncio.get_running_loop().create_future()
                    self._idle.append(waiting)
                    work = await waiting
                await self._handle(work)
                work = self._lanes.take(self._lane_ms())
                if self._lanes.waiting:
                    self._pump()
        except Exception as error:  # a worker must not die silently: its delivery would stay open for ever
            self._fail(error)

    async def _handle(self, work: Work) -> None:
        answered = True
        work.partition.flying += 1
        try:
            if work.partition.active:
                answered = await self._attempt(work)
        finally:
            work.partition.flying -= 1
            self._lanes.done(work.delivery.endpoint_id, work, self._lane_ms(), answered=answered)

    async def _attempt(self, work: Work) -> bool:
        """Send once and settle; False when the receiver said nothing at all."""
        delivery = work.delivery
        if not self._is_active(delivery.endpoint_id):
            await self._feed.fence()
        endpoint = self._feed.directory.endpoint(delivery.endpoint_id)
        if not self._sendable(work, endpoint) or endpoint is None:
            return True
        self._turns.departs(delivery)
        try:
            return await self._send(work, endpoint)
        finally:
            self._land(delivery)

    def _land(self, delivery: Delivery) -> None:
        """Its request is over: what was asked of the delivery meanwhile can be done."""
        onward, over = self._turns.landed(delivery)
        for work in over:
            self._settler.passed_over(work)
        for work in filter(lambda each: each.partition.active, onward):
            self._admit(work)

    async def _send(self, work: Work, endpoint: Endpoint) -> bool:
        delivery = work.delivery
        started_ms = self._clock.now_ms()
        try:
            prepared = self._builder.prepared(endpoint, started_ms)
            request = self._builder.request(delivery, endpoint, prepared, started_ms)
        except (ConfigError, Defect) as error:  # no key opens its secret, or it has none that is valid
            log.error("dispatch.secret_unreadable", endpoint=endpoint.id, error=str(error))
            self._settler.defer(work, started_ms + _SECRET_WAIT_MS, "secret_unreadable")
            return True
        except (Unrepresentable, MalformedEvent) as error:  # no event at all: somebody else has written it
            reason = "unrepresentable" if isinstance(error, Unrepresentable) else "unreadable"
            self._settler.ended(work, endpoint, "dead", reason, str(error))
            return True
        try:
            self._answered_by_s = max(self._answered_by_s, self._clock.monotonic() + request.timeout_s)
            outcome = await self._sender.send(request)
        except Defect as error:  # one delivery that cannot be written must not stop the others
            log.error("dispatch.unwritable", delivery=delivery.id, endpoint=endpoint.id, error=str(error))
            self._settler.ended(work, endpoint, "dead", "unrepresentable", str(error))
            return True
        ended_ms = self._clock.now_ms()
        verdict = judge(
            outcome, attempt=delivery.attempts + 1, policy=prepared.policy, now_ms=ended_ms, dice=self._dice.roll()
        )
        record = sent(delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms)
        self._measure(delivery, result_of(outcome), outcome.timing.total_ms, ended_ms)
        match verdict:
            case Delivered():
                self._turns.ended(delivery, "delivered")
                self._settler.delivered(work, endpoint, record)
            case RetryAt(due_at_ms=due):
                self._settler.retry(work, endpoint, record, due)
            case Dead():
                self._turns.ended(delivery, "dead")
                self._settler.dead(work, endpoint, record)
        return isinstance(outcome, Reply)

    def _measure(self, delivery: Delivery, result: str, total_ms: float, ended_ms: int) -> None:
        turn = "retry" if delivery.attempts else "first"
        self._meter.count("attempts_total", result=result, attempt=turn)
        self._meter.observe("attempt_duration_seconds", total_ms / 1000, phase="total")
        if result == "ok" and delivery.accepted_at_ms:
            seconds = max(0.0, (ended_ms - delivery.accepted_at_ms) / 1000)
            self._meter.observe("delivery_latency_seconds", seconds, attempt="first" if turn == "first" else "any")

    # --- care ---------------------------------------------------------------------------------------------------

    async def _sweep_loop(self) -> None:
        """Give back what waits behind endpoints that have slowed down."""
        while True:
            await self._clock.sleep(_SWEEP_EVERY_S)
            self._lanes.narrow()
            self._meter.gauge("waiting_deliveries", self._lanes.waiting)
            self._meter.gauge("inflight_attempts", self._lanes.in_flight)
            if self._lanes.waiting:
                for work, until_ms in self._lanes.stalled(self._lane_ms()):
                    self._settler.defer(work, self._due_ms(until_ms), "lane_stalled")
                self._pump()

    def _has_failed(self) -> bool:
        return self._failed is not None and self._failed.done()

    def _fail(self, error: Exception) -> None:
        if self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
