"""Write what a verdict demands: attempt, retry, dead letter. The offset is finished when all are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Literal, assert_never

import msgspec
import structlog

from app.core.errors import HookstreamError
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.model.http_exchange import HttpOutcome
from app.core.offsets.partitions import OpenPartition, PartitionId
from app.core.records import attempt as attempt_record
from app.core.records import delivery as delivery_record
from app.core.records.attempt import ERASED, EXPIRED, SUPERSEDED, Attempt, AttemptState
from app.core.records.headers import RecordHeader
from app.core.records.ordered import SettledAs, comes_back, settlement
from app.core.topics.declarations import Topics
from app.core.topics.names import RUNGS, TopicName, rung_for
from app.ports.clock import Clock
from app.ports.metrics import Meter
from app.ports.producer import GroupingProducer
from app.roles.committer import Committer
from app.roles.dispatch.attempts import APPENDED, available, reassigned, sent, superseded, unsent
from app.roles.dispatch.objectives import is_healthy
from app.roles.dispatch.ordered_deliveries import OrderedDeliveries, is_ordered
from app.roles.dispatch.role.attempt_log import AttemptLog
from app.roles.dispatch.role.dead_letter_log import DeadLetterLog
from app.roles.dispatch.signals import SignalEncoder
from app.roles.dispatch.verdict import Dead, Delivered, RetryAt, Verdict

logger = structlog.get_logger(__name__)


class OpenDelivery:
    """A delivery that this worker has read and not settled. Compared by identity: lanes need it unique."""

    __slots__ = ("delivery", "offset", "partition", "settled")

    def __init__(self, delivery: Delivery, partition: OpenPartition, offset: int) -> None:
        self.delivery = delivery
        self.partition = partition
        self.offset = offset
        #: its outputs are appended, or about to be
        self.settled = False


class _Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of a delivery's stay in this worker causes."""

    attempt: Attempt | None = None
    #: where the delivery goes, how it is written there, and headers beside its own
    topic: str | None = None
    onward: Delivery | None = None
    extra: list[RecordHeader] = []
    #: how the delivery was settled, for the sequencer; only for ordered deliveries
    settled: SettledAs | None = None
    #: a record of endpoints.signals
    signal: bytes | None = None


class Settler:
    """The only writer of attempts, retries, dead letters and signals."""

    def __init__(
        self,
        producer: GroupingProducer,
        topics: Topics,
        clock: Clock,
        meter: Meter,
        on_failure: Callable[[HookstreamError], None],
        committer: Committer,
        ordered: OrderedDeliveries[OpenDelivery],
        *,
        traced: bool = False,
    ) -> None:
        self._ordered = ordered
        self._sure = committer.sure
        self._certainty = committer.certainty
        #: appends that wait until it is certain whose the partitions are
        self._unsure: list[Callable[[], None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._producer = producer
        self._clock = clock
        self._meter = meter
        self._on_failure = on_failure
        self._signals = SignalEncoder()
        self.dead_letter_log = DeadLetterLog(clock)
        self._attempt_log = AttemptLog(clock, traced=traced)
        self._attempts_topic = topics.name(TopicName.ATTEMPTS)
        self._ordered_topic = topics.name(TopicName.DELIVERIES_ORDERED)
        self._pull_topic = topics.name(TopicName.DELIVERIES_PULL)
        self._dead_topic = topics.name(TopicName.DELIVERIES_DEAD)
        self._signals_topic = topics.name(TopicName.ENDPOINTS_SIGNALS)
        self._rung_topics = {name: topics.name(f"{TopicName.DELIVERIES_DELAY}.{name}") for name, _ in RUNGS}

    def assigned(self, places: Iterable[PartitionId]) -> None:
        """Partitions were assigned: another worker may have sent signals about their endpoints."""
        self._signals.forget(places)

    async def stop(self) -> None:
        """Drop the deliveries that wait for certainty: the partitions' next owner does it."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def settle(
        self,
        work: OpenDelivery,
        endpoint: Endpoint,
        outcome: HttpOutcome,
        verdict: Verdict,
        *,
        started_ms: int,
        ended_ms: int,
    ) -> Literal["delivered", "dead"] | None:
        """Settle a delivery after a request. Returns how it ended; None when another attempt or copy follows."""
        if outcome is APPENDED:
            attempt = available(work.delivery, endpoint, started_ms=started_ms, ended_ms=ended_ms)
            self._deliver(work, endpoint, attempt, topic=self._pull_topic, onward=work.delivery)
            return "delivered"
        attempt = sent(work.delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms)
        match verdict:
            case Delivered():
                self._deliver(work, endpoint, attempt)
                return "delivered"
            case _ if self.is_outdated(work):
                self._end_outdated(work, attempt)
                return None
            case RetryAt(due_at_ms=due_at_ms):
                self._retry(work, endpoint, attempt, due_at_ms)
                return None
            case Dead(reason=reason):
                if reason != EXPIRED:
                    self._count_healthy(endpoint, "dead")
                signal = self._signals.failed(work.partition.number, endpoint, attempt, self._clock.monotonic())
                self._bury(work, attempt, work.delivery.attempts + 1, signal)
                return "dead"
            case _ as never:
                assert_never(never)

    def is_outdated(self, work: OpenDelivery) -> bool:
        """See `OrderedDeliveries.is_outdated`."""
        return is_ordered(work.delivery) and self._ordered.is_outdated(work.delivery)

    def defer(self, work: OpenDelivery, due_at_ms: int, reason: str, *, since_ms: int | None = None) -> None:
        """Write the delivery to the delay ladder without an attempt (lane full, rate limit).

        `since_ms`: since when it waits for its endpoint; None: as before.
        """
        self._meter.count("deliveries_deferred_total", reason=reason)
        since_ms = work.delivery.waiting_since_ms if since_ms is None else since_ms
        waiting = msgspec.structs.replace(work.delivery, due_at_ms=due_at_ms, waiting_since_ms=since_ms)
        self._write(work, _Outputs(topic=self._rung_topics[self._rung(due_at_ms)], onward=waiting))

    def end(
        self,
        work: OpenDelivery,
        endpoint: Endpoint | None,
        state: AttemptState,
        reason: str,
        error: str,
        *,
        result: str | None = None,
    ) -> None:
        """End the delivery without a request: dead or cancelled. `result`: None: it is the reason."""
        attempt = unsent(work.delivery, endpoint, state, reason, error, self._clock.now_ms(), result=result)
        if state != "dead":
            self._meter.count("deliveries_total", outcome="cancelled")
            self._write(work, _Outputs(attempt=attempt, settled="cancelled"))
            return
        signal = None
        if endpoint and reason not in ("paused", ERASED):
            if reason != EXPIRED:
                self._count_healthy(endpoint, "dead")
            signal = self._signals.unsent(endpoint, attempt)
        self._bury(work, attempt, work.delivery.attempts, signal)

    def supersede(self, work: OpenDelivery) -> None:
        """End a copy without a trace: a newer revision of the delivery is on its way, or has ended it."""
        self._meter.count("deliveries_superseded_total")
        self._write(work, _Outputs())

    def drop_outdated(self, work: OpenDelivery) -> None:
        """End an outdated delivery without a request."""
        self._meter.count("ordered_copies_skipped_total")
        if not self._ordered.has_successor(work.delivery):
            self._write(work, _Outputs())
            return
        attempt = None
        if work.offset >= work.partition.end:  # not read again after a crash: perhaps nothing says how it ended
            error = "a later delivery of its ordering key was released before it"
            attempt = unsent(work.delivery, None, "cancelled", SUPERSEDED, error, self._clock.now_ms())
        self._write(work, _Outputs(attempt=attempt, settled="cancelled"))

    def signal_circuit(self, partition: OpenPartition, endpoint: Endpoint, circuit: OpenCircuit | None) -> None:
        """Signal an endpoint's circuit to health (None: it is closed). A lost signal is repaired by the next one."""
        if partition.active:
            group = self._producer.bundle(lambda: None, self._on_failure)
            signal = self._signals.circuit(endpoint, circuit)
            group.append(self._signals_topic, key=endpoint.id.encode(), value=signal, partition=partition.number)
            group.close()

    def _deliver(
        self,
        work: OpenDelivery,
        endpoint: Endpoint,
        attempt: Attempt,
        *,
        topic: str | None = None,
        onward: Delivery | None = None,
    ) -> None:
        """End it as delivered; to a pull endpoint, with its record in that endpoint's log."""
        self._meter.count("deliveries_total", outcome="delivered")
        self._count_healthy(endpoint, "delivered")
        signal = self._signals.delivered(work.partition.number, endpoint, attempt)
        self._write(work, _Outputs(attempt=attempt, topic=topic, onward=onward, settled="delivered", signal=signal))

    def _retry(self, work: OpenDelivery, endpoint: Endpoint, attempt: Attempt, due_at_ms: int) -> None:
        signal = self._signals.failed(work.partition.number, endpoint, attempt, self._clock.monotonic())
        rung = self._rung(due_at_ms)
        self._meter.count("retry_scheduled_total", rung=rung)
        waiting = msgspec.structs.replace(
            work.delivery,
            attempts=work.delivery.attempts + 1,
            due_at_ms=due_at_ms,
            waiting_since_ms=0,
            manual=None,
        )
        self._write(work, _Outputs(attempt=attempt, topic=self._rung_topics[rung], onward=waiting, signal=signal))

    def _end_outdated(self, work: OpenDelivery, attempt: Attempt) -> None:
        """Record the failed attempt of a delivery that became outdated while its request was in flight."""
        if self._ordered.has_successor(work.delivery):
            self._meter.count("ordered_copies_skipped_total")
            self._write(work, _Outputs(attempt=superseded(attempt), settled="cancelled"))
        else:
            self._write(work, _Outputs(attempt=reassigned(attempt)))

    def _bury(self, work: OpenDelivery, attempt: Attempt, attempts: int, signal: bytes | None) -> None:
        """Write a dead letter, or park the delivery of a paused endpoint."""
        reason = attempt.reason or "unknown"
        delivery = work.delivery
        self._meter.count("deliveries_total", outcome="dead")
        if reason == "paused" and delivery.arrival is not None and is_ordered(delivery):
            # The sequencer parks it in its key queue, from which nothing behind it is released.
            waiting = msgspec.structs.replace(delivery, due_at_ms=0, waiting_since_ms=0, manual=None)
            extra = comes_back(delivery.arrival)
            self._write(work, _Outputs(attempt=attempt, topic=self._ordered_topic, onward=waiting, extra=extra))
            return
        self._meter.count("dead_letters_total", reason=reason)
        if reason != "paused":
            self.dead_letter_log.note(delivery, reason, attempt.result)
        ended = msgspec.structs.replace(
            delivery, attempts=attempts, due_at_ms=0, waiting_since_ms=0, manual=None, released=None
        )
        self._write(
            work,
            _Outputs(
                attempt=attempt,
                topic=self._dead_topic,
                onward=ended,
                extra=_death_headers(attempt, reason, self._clock.now_ms()),
                settled="dead" if reason != EXPIRED else "cancelled",  # it does not block its ordering key
                signal=signal,
            ),
        )

    def _count_healthy(self, endpoint: Endpoint, outcome: str) -> None:
        if is_healthy(endpoint):
            self._meter.count("healthy_endpoint_deliveries_total", outcome=outcome)

    def _rung(self, due_at_ms: int) -> str:
        return rung_for((due_at_ms - self._clock.now_ms()) / 1000, RUNGS)

    def _write(self, work: OpenDelivery, outputs: _Outputs) -> None:
        """Append the outputs at once, or as soon as it is certain that the partition is still ours."""
        work.settled = True
        if outputs.attempt is not None:
            self._attempt_log.note(outputs.attempt, work.delivery)
        work.partition.settling += 1
        append = partial(self._append, work, outputs)
        if self._sure():
            append()
            return
        self._unsure.append(append)
        if self._asking is None:
            self._asking = asyncio.create_task(self._append_when_certain())

    async def _append_when_certain(self) -> None:
        await self._certainty()
        self._asking = None
        waiting, self._unsure = self._unsure, []
        for append in waiting:
            append()

    def _append(self, work: OpenDelivery, outputs: _Outputs) -> None:
        partition, offset, delivery, settled = work.partition, work.offset, work.delivery, outputs.settled
        size = len(delivery.body)
        if not partition.ours and settled != "delivered":
            self._append_reassigned(partition, delivery, outputs.attempt)
            return

        def finished() -> None:
            partition.settling -= 1
            partition.finished(offset, size)

        then = finished
        if is_ordered(delivery):
            if settled is not None:
                self._ordered.ended(delivery)
                then = partial(self._append_settlement, delivery, partition, settled, finished)
            elif outputs.onward is not None:
                self._ordered.rescheduled(outputs.onward)
        group = self._producer.bundle(then, self._on_failure)
        key, number = delivery.endpoint_id.encode(), partition.number
        if outputs.attempt is not None:
            group.append(self._attempts_topic, key=key, value=attempt_record.encode(outputs.attempt), partition=number)
        if outputs.topic is not None and outputs.onward is not None:
            headers = delivery_record.encode(outputs.onward) + outputs.extra
            group.append(outputs.topic, key=key, value=outputs.onward.body, headers=headers, partition=number)
        if outputs.signal is not None:
            group.append(self._signals_topic, key=key, value=outputs.signal, partition=number)
        group.close()

    def _append_settlement(
        self, delivery: Delivery, partition: OpenPartition, settled: SettledAs, finished: Callable[[], None]
    ) -> None:
        """Append the settlement for the sequencer, once everything else about the delivery is acknowledged.

        The sequencer then releases its successor, which proves that nothing more will be written about this delivery.
        """
        assert delivery.arrival is not None and delivery.ordering_key is not None
        group = self._producer.bundle(finished, self._on_failure)
        headers = settlement(delivery.arrival, settled, delivery.ordering_key)
        key = delivery.endpoint_id.encode()
        group.append(self._ordered_topic, key=key, value=None, headers=headers, partition=partition.number)
        group.close()

    def _append_reassigned(self, partition: OpenPartition, delivery: Delivery, attempt: Attempt | None) -> None:
        """Record a failed request of a partition that has another owner by now, who sends the delivery again.

        A success is settled in full by whichever worker sees it: it cannot be wrong, and ends the delivery.
        """
        if attempt is None or not attempt.made_a_request:
            partition.settling -= 1
            return
        self._meter.count("attempts_reassigned_total")

        def acknowledged() -> None:
            partition.settling -= 1

        group = self._producer.bundle(acknowledged, self._on_failure)
        value = attempt_record.encode(reassigned(attempt))
        group.append(self._attempts_topic, key=delivery.endpoint_id.encode(), value=value, partition=partition.number)
        group.close()


def _death_headers(attempt: Attempt, reason: str, now_ms: int) -> list[RecordHeader]:
    """The headers of a dead letter beside those of its delivery."""
    headers: list[RecordHeader] = [("reason", reason.encode()), ("last-result", attempt.result.encode())]
    if attempt.status is not None:
        headers.append(("last-status", b"%d" % attempt.status))
    if attempt.error:
        headers.append(("last-error", attempt.error.encode("utf-8", "replace")))
    headers.append(("died-at", b"%d" % now_ms))
    return headers
