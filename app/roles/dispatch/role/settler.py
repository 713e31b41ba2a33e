"""Write what a verdict orders: attempt record, retry, dead letter; the offset is finished when all are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

import msgspec
import structlog

from app.core.errors import HookstreamError
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.offsets.partitions import OpenPartition, PartitionId
from app.core.records import delivery as delivery_record
from app.core.records.attempt import SUPERSEDED, Attempt, AttemptState
from app.core.records.ordered import SettledAs, comes_back, settlement
from app.core.topics.declarations import Topics
from app.core.topics.names import RUNGS, TopicName, rung_for
from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.ports.producer import GroupingProducer
from app.roles.committer import Committer
from app.roles.dispatch.attempts import reassigned, superseded, unsent
from app.roles.dispatch.lines import Lines, is_ordered
from app.roles.dispatch.objectives import is_healthy
from app.roles.dispatch.role.given_up import GivenUp
from app.roles.dispatch.signals import SignalEncoder

log = structlog.get_logger(__name__)

_encoder = msgspec.json.Encoder()


class OpenDelivery:
    """One delivery in this worker's hands. Compared by identity: lanes need it unique."""

    __slots__ = ("delivery", "offset", "partition", "settled")

    def __init__(self, delivery: Delivery, partition: OpenPartition, offset: int) -> None:
        self.delivery = delivery
        self.partition = partition
        self.offset = offset
        #: what it causes is written, or about to be: it is in this worker's hands no more
        self.settled = False


class Settler:
    """The only writer of attempts, retries, dead letters and signals."""

    def __init__(
        self,
        producer: GroupingProducer,
        topics: Topics,
        clock: Clock,
        meter: Meter,
        on_failure: Callable[[HookstreamError], None],
        commits: Committer,
        lines: Lines[OpenDelivery],
    ) -> None:
        self._lines = lines
        self._sure = commits.sure
        self._certainty = commits.certainty
        #: what waits until it is certain whose the partitions are
        self._unsure: list[Callable[[], None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._producer = producer
        self._clock = clock
        self._meter = meter
        self._on_failure = on_failure
        self._telling = SignalEncoder()
        self.given_up = GivenUp(clock)
        self._attempts = topics.name(TopicName.ATTEMPTS)
        self._ordered = topics.name(TopicName.DELIVERIES_ORDERED)
        self._dead = topics.name(TopicName.DELIVERIES_DEAD)
        self._signals = topics.name(TopicName.ENDPOINTS_SIGNALS)
        self._rungs = {name: topics.name(f"{TopicName.DELIVERIES_DELAY}.{name}") for name, _ in RUNGS}

    def assigned(self, places: Iterable[PartitionId]) -> None:
        """These are ours from now on: what health was told of their endpoints is no longer known."""
        self._telling.forget(places)

    async def stop(self) -> None:
        """What is uncertain now stays undone: the partitions' next owner does it."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def delivered(self, work: OpenDelivery, endpoint: Endpoint, attempt: Attempt) -> None:
        """The receiver has it."""
        self._meter.count("deliveries_total", outcome="delivered")
        self._count_healthy(endpoint, "delivered")
        self._write(
            work, attempt, settled="delivered", signal=self._telling.delivered(work.partition.number, endpoint, attempt)
        )

    def retry(self, work: OpenDelivery, endpoint: Endpoint, attempt: Attempt, due_at_ms: int) -> None:
        """Attempt again at `due_at_ms`."""
        signal = self._telling.failed(work.partition.number, endpoint, attempt, self._clock.monotonic())
        rung = self._rung(due_at_ms)
        self._meter.count("retry_scheduled_total", rung=rung)
        attempts = work.delivery.attempts + 1
        waiting = msgspec.structs.replace(
            work.delivery, attempts=attempts, due_at_ms=due_at_ms, waiting_since_ms=0, manual=None
        )
        self._write(work, attempt, self._rungs[rung], waiting, signal=signal)

    def defer(self, work: OpenDelivery, due_at_ms: int, reason: str, *, since_ms: int | None = None) -> None:
        """Put off without an attempt (lane full, rate): nothing is counted against the delivery.

        `since_ms`: since when it waits for its endpoint; None: as before.
        """
        self._meter.count("deliveries_deferred_total", reason=reason)
        since_ms = work.delivery.waiting_since_ms if since_ms is None else since_ms
        waiting = msgspec.structs.replace(work.delivery, due_at_ms=due_at_ms, waiting_since_ms=since_ms)
        self._write(work, None, self._rungs[self._rung(due_at_ms)], waiting)

    def dead(self, work: OpenDelivery, endpoint: Endpoint, attempt: Attempt) -> None:
        """The attempt was the last one: put the delivery aside."""
        self._count_healthy(endpoint, "dead")
        signal = self._telling.failed(work.partition.number, endpoint, attempt, self._clock.monotonic())
        self._put_aside(work, attempt, work.delivery.attempts + 1, signal)

    def ended(
        self, work: OpenDelivery, endpoint: Endpoint | None, state: AttemptState, reason: str, error: str
    ) -> None:
        """It ends without a request: dead or cancelled."""
        attempt = unsent(work.delivery, endpoint, state, reason, error, self._clock.now_ms())
        if state == "dead":
            if endpoint and reason != "paused":
                self._count_healthy(endpoint, "dead")
            signal = self._telling.unsent(endpoint, attempt) if endpoint and reason != "paused" else None
            self._put_aside(work, attempt, work.delivery.attempts, signal)
        else:
            self._meter.count("deliveries_total", outcome="cancelled")
            self._write(work, attempt, settled="cancelled")

    def _count_healthy(self, endpoint: Endpoint, outcome: str) -> None:
        if is_healthy(endpoint):
            self._meter.count("healthy_endpoint_deliveries_total", outcome=outcome)

    def _put_aside(self, work: OpenDelivery, attempt: Attempt, attempts: int, signal: bytes | None) -> None:
        reason = attempt.reason or "unknown"
        self._meter.count("deliveries_total", outcome="dead")
        if reason == "paused" and work.delivery.arrival is not None and is_ordered(work.delivery):
            # Its resume finds it in its line: behind it nothing leaves.
            waiting = msgspec.structs.replace(work.delivery, due_at_ms=0, waiting_since_ms=0, manual=None)
            self._write(work, attempt, self._ordered, waiting, comes_back(work.delivery.arrival))
            return
        self._meter.count("dead_letters_total", reason=reason)
        if reason != "paused":  # those wait for their endpoint's resume
            self.given_up.note(work.delivery, reason, attempt.result)
        extra = [("reason", reason.encode()), ("last-result", attempt.result.encode())]
        if attempt.status is not None:
            extra.append(("last-status", b"%d" % attempt.status))
        if attempt.error:
            extra.append(("last-error", attempt.error.encode("utf-8", "replace")))
        extra.append(("died-at", b"%d" % self._clock.now_ms()))
        ended = msgspec.structs.replace(
            work.delivery, attempts=attempts, due_at_ms=0, waiting_since_ms=0, manual=None, released=None
        )
        self._write(work, attempt, self._dead, ended, extra, "dead", signal)

    def circuit(self, partition: OpenPartition, endpoint: Endpoint, circuit: OpenCircuit | None) -> None:
        """Tell health of an endpoint's circuit (None: it is closed). Where that is lost, the next change tells."""
        if partition.active:
            bundle = self._producer.bundle(lambda: None, self._on_failure)
            signal = self._telling.circuit(endpoint, circuit)
            bundle.append(self._signals, key=endpoint.id.encode(), value=signal, partition=partition.number)
            bundle.close()

    def passed_over(self, work: OpenDelivery) -> None:
        """A newer revision of the delivery is on its way, or has ended it: this copy leaves no trace."""
        self._meter.count("deliveries_superseded_total")
        self._write(work, None)

    def over(self, work: OpenDelivery) -> None:
        """It ends unsent: a later one of its line is out, or a later attempt of its own."""
        self._meter.count("ordered_copies_skipped_total")
        if not self._lines.is_past(work.delivery):
            self._write(work, None)
            return
        attempt = None
        if work.offset >= work.partition.end:  # not read again after a crash: nobody may have said how it ended
            error = "a later delivery of its ordering key was let go before it"
            attempt = unsent(work.delivery, None, "cancelled", SUPERSEDED, error, self._clock.now_ms())
        self._write(work, attempt, settled="cancelled")

    def outrun(self, work: OpenDelivery, attempt: Attempt) -> None:
        """It has failed, and meanwhile a later one of its line, or a later attempt of its own, has turned up."""
        if self._lines.is_past(work.delivery):
            self._meter.count("ordered_copies_skipped_total")
            self._write(work, superseded(attempt), settled="cancelled")
        else:
            self._write(work, reassigned(attempt))

    def _rung(self, due_at_ms: int) -> str:
        return rung_for((due_at_ms - self._clock.now_ms()) / 1000, RUNGS)

    def _write(
        self,
        work: OpenDelivery,
        attempt: Attempt | None,
        topic: str | None = None,
        onward: Delivery | None = None,
        extra: list[tuple[str, bytes]] | None = None,
        settled: SettledAs | None = None,
        signal: bytes | None = None,
    ) -> None:
        """`settled`: what became of it, for the sequencer, where the delivery is one of an ordered line. `signal`: what
        health is told.

        Everything that dispatch causes goes through here: at once, or once it is certain whose the partition is.
        """
        work.settled = True
        work.partition.settling += 1
        append = partial(self._append, work, attempt, topic, onward, extra, settled, signal)
        if self._sure():
            append()
            return
        self._unsure.append(append)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        await self._certainty()
        self._asking = None
        waiting, self._unsure = self._unsure, []
        for append in waiting:
            append()

    def _append(
        self,
        work: OpenDelivery,
        attempt: Attempt | None,
        topic: str | None,
        onward: Delivery | None,
        extra: list[tuple[str, bytes]] | None,
        settled: SettledAs | None,
        signal: bytes | None,
    ) -> None:
        partition, offset, delivery = work.partition, work.offset, work.delivery
        size = len(delivery.body)
        if not partition.ours and settled != "delivered":
            self._record(partition, delivery, attempt)
            return

        def finished() -> None:
            partition.settling -= 1
            partition.finished(offset, size)

        ordered = settled is not None and is_ordered(delivery)
        self._learn(delivery, onward, settled)
        then = partial(self._settle, delivery, partition, settled, finished) if settled and ordered else finished
        bundle = self._producer.bundle(then, self._on_failure)
        key = delivery.endpoint_id.encode()
        if attempt is not None:
            bundle.append(self._attempts, key=key, value=_encoder.encode(attempt), partition=partition.number)
        if topic is not None and onward is not None:
            headers = delivery_record.encode(onward)
            if extra:
                headers += extra
            bundle.append(topic, key=key, value=onward.body, headers=headers, partition=partition.number)
        if signal is not None:
            bundle.append(self._signals, key=key, value=signal, partition=partition.number)
        bundle.close()

    def _learn(self, delivery: Delivery, onward: Delivery | None, settled: SettledAs | None) -> None:
        if is_ordered(delivery):
            if settled is not None:
                self._lines.ended(delivery)
            elif onward is not None:
                self._lines.moved(onward)

    def _settle(
        self, delivery: Delivery, partition: OpenPartition, settled: SettledAs, finished: Callable[[], None]
    ) -> None:
        """Tell the sequencer, once everything else of the delivery is safe: a later one of its line, which is let go
        then, proves that there is nothing more to be said of this one.
        """
        assert delivery.arrival is not None and delivery.ordering_key is not None
        bundle = self._producer.bundle(finished, self._on_failure)
        headers = settlement(delivery.arrival, settled, delivery.ordering_key)
        key = delivery.endpoint_id.encode()
        bundle.append(self._ordered, key=key, value=None, headers=headers, partition=partition.number)
        bundle.close()

    def _record(self, partition: OpenPartition, delivery: Delivery, attempt: Attempt | None) -> None:
        """The partition is somebody else's, who sends it again: a request that was made is told, and nothing follows.

        A success is settled in full by whoever sees it: it cannot be wrong, and ends the delivery in its line.
        """
        if attempt is None or not attempt.made_a_request:
            partition.settling -= 1
            return
        self._meter.count("attempts_reassigned_total")

        def told() -> None:
            partition.settling -= 1

        bundle = self._producer.bundle(told, self._on_failure)
        value = _encoder.encode(reassigned(attempt))
        bundle.append(self._attempts, key=delivery.endpoint_id.encode(), value=value, partition=partition.number)
        bundle.close()
