"""One delivery: may it be sent, build its request, send it, judge the outcome, and have it settled and measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import structlog

from app.core.errors import ConfigError, Defect, Hindered, HookstreamError, MalformedEvent, Unrepresentable
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import NOT_SENT, HttpFailure, HttpOutcome, HttpRequest, HttpTiming
from app.core.model.timestamps import iso
from app.core.records.attempt import Attempt
from app.ports.clock import Clock, Randomness
from app.ports.http import Sender
from app.ports.metrics import Meter
from app.ports.registry import DirectoryFeed
from app.ports.secrets import KeyRing
from app.profiles.catalog import get_or_standard
from app.profiles.requests import RequestBuilder
from app.roles.dispatch import objectives, waiting
from app.roles.dispatch.attempts import sent
from app.roles.dispatch.circuit import heard
from app.roles.dispatch.lines import Lines, is_ordered
from app.roles.dispatch.role.hindering import Hindering
from app.roles.dispatch.role.in_flight import InFlightRequests
from app.roles.dispatch.role.settler import OpenDelivery, Settler
from app.roles.dispatch.verdict import Dead, Delivered, RetryAt, Verdict, judge, result_of

log = structlog.get_logger(__name__)


class Sending:
    """Sends single deliveries; `again` takes those that waited for the end of a request and go on."""

    def __init__(
        self,
        *,
        sender: Sender,
        feed: DirectoryFeed,
        keyring: KeyRing,
        settler: Settler,
        clock: Clock,
        dice: Randomness,
        meter: Meter,
        time_scale: float,
        least_wait_ms: int,
        lines: Lines[OpenDelivery],
        again: Callable[[OpenDelivery], None],
    ) -> None:
        self._lines = lines
        self._sender = sender
        self._feed = feed
        self._turns = InFlightRequests(feed)
        self._builder = RequestBuilder(keyring.open, time_scale)
        self._settler = settler
        self._clock = clock
        self._dice = dice
        self._meter = meter
        self._time_scale = time_scale
        self._least_wait_ms = least_wait_ms
        self._again = again
        self._hindering = Hindering(clock, meter)
        #: by then (monotonic) every request under way has ended
        self.answered_by_s = 0.0

    def is_active(self, endpoint_id: str) -> bool:
        """Whether the directory knows the endpoint, and it takes deliveries."""
        endpoint = self._feed.directory.endpoint(endpoint_id)
        return endpoint is not None and endpoint.status == "active"

    def sendable(self, work: OpenDelivery) -> Endpoint | None:
        """The endpoint, when it may be called with it; if not, the delivery or this copy of it ends here, or waits."""
        if not work.partition.active:
            return None  # its next owner has it
        if self._is_over(work):
            self._settler.over(work)
            return None
        endpoint = self._feed.directory.endpoint(work.delivery.endpoint_id)
        fate = self._turns.fate(work)
        if fate == "pass":
            self._settler.passed_over(work)
        elif fate == "cancel":
            self._settler.ended(work, endpoint, "cancelled", "cancelled", "it was cancelled on request")
        elif fate == "held":
            return None
        elif endpoint is None:
            self._settler.ended(work, None, "cancelled", "endpoint_removed", "the endpoint was removed")
        elif endpoint.status == "disabled":
            self._settler.ended(work, endpoint, "cancelled", "endpoint_disabled", "the endpoint is disabled")
        elif endpoint.status == "paused":
            self._settler.ended(work, endpoint, "dead", "paused", "the endpoint is paused: kept for its resume")
        else:
            return endpoint
        return None

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint as the directory knows it."""
        return self._feed.directory.endpoint(endpoint_id)

    def _is_over(self, work: OpenDelivery) -> bool:
        return is_ordered(work.delivery) and self._lines.is_over(work.delivery)

    def wait_limit_ms(self, work: OpenDelivery) -> int:
        """For how long the delivery may wait for an attempt."""
        endpoint = self._feed.directory.endpoint(work.delivery.endpoint_id)
        schedule = () if endpoint is None else endpoint.schedule or get_or_standard(endpoint.profile).schedule_s
        return waiting.limit_ms(schedule, scale=self._time_scale, least_ms=self._least_wait_ms)

    def overloaded(self, work: OpenDelivery, since_ms: int) -> None:
        """It has waited for too long."""
        endpoint = self._feed.directory.endpoint(work.delivery.endpoint_id)
        error = f"it waited since {iso(since_ms)} for its endpoint, which could not take it"
        self._turns.ended(work.delivery, "dead")
        self._settler.ended(work, endpoint, "dead", "overloaded", error)

    async def attempt(self, work: OpenDelivery) -> bool | None:
        """Send once and settle; False when the receiver said nothing at all, None when nothing was sent."""
        delivery = work.delivery
        if not self.is_active(delivery.endpoint_id):
            await self._feed.catch_up()
        endpoint = self.sendable(work)
        if endpoint is None:
            return None
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
        for work in [*onward, *over]:
            self._again(work)

    async def _send(self, work: OpenDelivery, endpoint: Endpoint) -> bool | None:
        delivery = work.delivery
        started_ms = self._clock.now_ms()
        outcome: HttpOutcome
        try:
            request = self._built(delivery, endpoint, started_ms)
            self.answered_by_s = max(self.answered_by_s, self._clock.monotonic() + request.timeout_s)
            outcome = await self._sender.send(request)
        except Hindered as error:
            await self._put_off(work, error)
            return None
        except (Unrepresentable, MalformedEvent) as error:  # no event at all: somebody else has written it
            reason = "unrepresentable" if isinstance(error, Unrepresentable) else "unreadable"
            self._settler.ended(work, endpoint, "dead", reason, str(error))
            return None
        except (ConfigError, Defect) as error:  # no key opens its secret, none is valid, or a header cannot be written
            log.error("dispatch.not_sent", delivery=delivery.id, endpoint=endpoint.id, error=str(error))
            outcome = HttpFailure(kind=NOT_SENT, detail=f"no request could be built: {error}", timing=HttpTiming())
        else:
            self._hindering.over()
        ended_ms = self._clock.now_ms()
        verdict = judge(
            outcome,
            attempt=delivery.attempts + 1,
            policy=self._builder.policy(endpoint),
            now_ms=ended_ms,
            dice=self._dice.roll(),
        )
        record = sent(delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms)
        self._measure(delivery, endpoint, result_of(outcome), outcome.timing, started_ms, ended_ms)
        self._settle(work, endpoint, verdict, record)
        return heard(outcome)

    def _settle(self, work: OpenDelivery, endpoint: Endpoint, verdict: Verdict, record: Attempt) -> None:
        match verdict:
            case Delivered():
                self._turns.ended(work.delivery, "delivered")
                self._settler.delivered(work, endpoint, record)
            case _ if self._is_over(work):
                self._settler.outrun(work, record)
            case RetryAt(due_at_ms=due):
                self._settler.retry(work, endpoint, record, due)
            case Dead():
                self._turns.ended(work.delivery, "dead")
                self._settler.dead(work, endpoint, record)
            case _ as never:
                assert_never(never)

    async def _put_off(self, work: OpenDelivery, error: Hindered) -> None:
        """Nothing was sent, for a reason of our own: no attempt is counted against the endpoint."""
        due_ms = await self._hindering.slow_down(error)
        if work.partition.active:  # else its next owner has it
            self._settler.defer(work, due_ms, "hindered")

    def _built(self, delivery: Delivery, endpoint: Endpoint, now_ms: int) -> HttpRequest:
        """The request; a mistake of ours while it is built concerns this delivery, and no other one."""
        try:
            prepared = self._builder.prepared(endpoint, now_ms)
            return self._builder.request(delivery, endpoint, prepared, now_ms)
        except HookstreamError:
            raise
        except Exception as error:  # else it would come again for ever, and stop the others
            log.exception("dispatch.build_failed", delivery=delivery.id, endpoint=endpoint.id)
            raise Defect(f"an error of the service itself: {error!r}") from error

    def _measure(
        self, delivery: Delivery, endpoint: Endpoint, result: str, timing: HttpTiming, started_ms: int, ended_ms: int
    ) -> None:
        turn = "retry" if delivery.attempts else "first"
        self._meter.count("attempts_total", result=result, attempt=turn)
        if result != NOT_SENT:
            self._meter.observe("attempt_duration_seconds", timing.total_ms / 1000, phase="total")
            if timing.connect_ms:
                self._meter.observe("attempt_duration_seconds", timing.connect_ms / 1000, phase="connect")
            if timing.first_byte_ms:
                self._meter.observe("attempt_duration_seconds", timing.first_byte_ms / 1000, phase="first_byte")
        if objectives.is_prompt(delivery, endpoint):
            self._meter.observe("first_attempt_delay_seconds", max(0.0, (started_ms - delivery.accepted_at_ms) / 1000))
        if result == "ok":
            self._meter.observe("delivery_attempts_per_success", delivery.attempts + 1)
        if result == "ok" and delivery.accepted_at_ms:
            seconds = max(0.0, (ended_ms - delivery.accepted_at_ms) / 1000)
            self._meter.observe("delivery_latency_seconds", seconds, attempt="first" if turn == "first" else "any")
