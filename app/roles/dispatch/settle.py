"""Write what a verdict orders: attempt record, retry, dead letter; the offset is finished when all are acknowledged."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from app.core import delivery_record
from app.core.attempt import Attempt
from app.core.errors import HookstreamError
from app.core.fifo import Outcome
from app.core.model import Delivery
from app.core.ordered_record import settlement
from app.core.partitions import Partition
from app.core.schedule import rung_for
from app.core.topics import RUNGS, Names, Topics
from app.ports import BundleLog, Clock, Meter

log = structlog.get_logger(__name__)

_encoder = msgspec.json.Encoder()


class Work:
    """One delivery in this worker's hands. Compared by identity: lanes need it unique."""

    __slots__ = ("delivery", "offset", "partition")

    def __init__(self, delivery: Delivery, partition: Partition, offset: int) -> None:
        self.delivery = delivery
        self.partition = partition
        self.offset = offset


class Settler:
    """The only writer of attempts, retries and dead letters."""

    def __init__(
        self, log_: BundleLog, topics: Topics, clock: Clock, meter: Meter, on_failure: Callable[[HookstreamError], None]
    ) -> None:
        self._log = log_
        self._clock = clock
        self._meter = meter
        self._on_failure = on_failure
        self._attempts = topics.name(Names.ATTEMPTS)
        self._ordered = topics.name(Names.DELIVERIES_ORDERED)
        self._dead = topics.name(Names.DELIVERIES_DEAD)
        self._rungs = {name: topics.name(f"{Names.DELIVERIES_DELAY}.{name}") for name, _ in RUNGS}

    def delivered(self, work: Work, attempt: Attempt) -> None:
        """The receiver has it."""
        self._meter.count("deliveries_total", outcome="delivered")
        self._write(work, attempt, settled="delivered")

    def retry(self, work: Work, attempt: Attempt, due_at_ms: int) -> None:
        """Attempt again at `due_at_ms`."""
        tier = self._rung(due_at_ms)
        self._meter.count("retry_scheduled_total", tier=tier)
        attempts = work.delivery.attempts + 1
        waiting = msgspec.structs.replace(work.delivery, attempts=attempts, due_at_ms=due_at_ms, asked=None)
        self._write(work, attempt, self._rungs[tier], waiting)

    def defer(self, work: Work, due_at_ms: int, reason: str) -> None:
        """Put off without an attempt (lane full, rate): nothing is counted against the delivery."""
        self._meter.count("deferred_total", reason=reason)
        waiting = msgspec.structs.replace(work.delivery, due_at_ms=due_at_ms)
        self._write(work, None, self._rungs[self._rung(due_at_ms)], waiting)

    def dead(self, work: Work, attempt: Attempt, *, attempts: int) -> None:
        """No further attempt: put the delivery aside, with `attempts` attempts made in all."""
        reason = attempt.reason or "unknown"
        self._meter.count("dlq_total", reason=reason)
        self._meter.count("deliveries_total", outcome="dead")
        extra = [("reason", reason.encode()), ("last-result", attempt.result.encode())]
        if attempt.status is not None:
            extra.append(("last-status", b"%d" % attempt.status))
        if attempt.error:
            extra.append(("last-error", attempt.error.encode("utf-8", "replace")))
        extra.append(("died-at", b"%d" % self._clock.now_ms()))
        ended = msgspec.structs.replace(work.delivery, attempts=attempts, due_at_ms=0, asked=None)
        self._write(work, attempt, self._dead, ended, extra, "aside" if reason == "paused" else "dead")

    def cancelled(self, work: Work, attempt: Attempt) -> None:
        """It ends without being sent (endpoint removed or disabled)."""
        self._meter.count("deliveries_total", outcome="cancelled")
        self._write(work, attempt, settled="cancelled")

    def passed_over(self, work: Work) -> None:
        """A newer turn of the delivery is on its way, or has ended it: this copy leaves no trace."""
        self._meter.count("deliveries_passed_over_total")
        work.partition.finished(work.offset, len(work.delivery.body))

    def _rung(self, due_at_ms: int) -> str:
        return rung_for((due_at_ms - self._clock.now_ms()) / 1000, RUNGS)

    def _write(
        self,
        work: Work,
        attempt: Attempt | None,
        topic: str | None = None,
        onward: Delivery | None = None,
        extra: list[tuple[str, bytes]] | None = None,
        settled: Outcome | None = None,
    ) -> None:
        """`settled`: what became of it, for the sequencer, where the delivery is one of an ordered line."""
        partition, offset = work.partition, work.offset
        size = len(work.delivery.body)
        partition.settling += 1

        def settled_all() -> None:
            partition.settling -= 1
            partition.finished(offset, size)

        bundle = self._log.bundle(settled_all, self._on_failure)
        key = work.delivery.endpoint_id.encode()
        if attempt is not None:
            bundle.append(self._attempts, key=key, value=_encoder.encode(attempt), partition=partition.number)
        if topic is not None and onward is not None:
            headers = delivery_record.encode(onward)
            if extra:
                headers += extra
            bundle.append(topic, key=key, value=onward.body, headers=headers, partition=partition.number)
        delivery = work.delivery
        if settled is not None and delivery.arrival is not None and delivery.ordering_key is not None:
            told = settlement(delivery.arrival, settled, delivery.ordering_key)
            bundle.append(self._ordered, key=key, value=None, headers=told, partition=partition.number)
        bundle.close()
