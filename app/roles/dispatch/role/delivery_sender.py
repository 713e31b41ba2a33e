"""Send one delivery: check that it may be sent, build its request, send it, judge the outcome, settle and measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import structlog

from app.core.errors import (
    ConfigError,
    Defect,
    Hindered,
    HookstreamError,
    MalformedEvent,
    TransformFailed,
    Unrepresentable,
)
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import NOT_SENT, HttpFailure, HttpOutcome, HttpRequest, HttpTiming
from app.core.model.timestamps import iso
from app.core.records.attempt import ERASED, EXPIRED
from app.core.subjects import LEFT_OUT, SubjectVault
from app.ports.clock import Clock, Randomness
from app.ports.http import Sender
from app.ports.metrics import EndpointMeter, Meter
from app.ports.registry import DirectoryFeed
from app.ports.secrets import KeyRing
from app.profiles.catalog import get_or_standard
from app.profiles.requests import RequestBuilder
from app.roles.dispatch import objectives
from app.roles.dispatch.attempts import APPENDED, trigger_of
from app.roles.dispatch.circuit import was_answered
from app.roles.dispatch.delivery_window import scheduled_ms
from app.roles.dispatch.role.hindrance_backoff import HindranceBackoff
from app.roles.dispatch.role.in_flight import InFlightRequests
from app.roles.dispatch.role.settler import OpenDelivery, Settler
from app.roles.dispatch.transform_pace import TransformPace
from app.roles.dispatch.verdict import Verdict, judge, result_of
from app.roles.dispatch.wait_limits import next_look_ms, wait_limit_ms

logger = structlog.get_logger(__name__)


class DeliverySender:
    """Sends single deliveries. `readmit` is called for copies that waited for a request and continue."""

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
        readmit: Callable[[OpenDelivery], None],
        endpoint_meter: EndpointMeter | None = None,
        subjects: SubjectVault | None = None,
    ) -> None:
        self._sender = sender
        self._feed = feed
        self._in_flight = InFlightRequests(feed)
        self._builder = RequestBuilder(keyring.open, time_scale, keyring.signer)
        self._settler = settler
        self._clock = clock
        self._dice = dice
        self._meter = meter
        self._endpoint_meter = endpoint_meter
        self._subjects = subjects
        self._time_scale = time_scale
        self._least_wait_ms = least_wait_ms
        self._readmit = readmit
        self._backoff = HindranceBackoff(clock, meter)
        self._transform_pace = TransformPace()
        #: when every request in flight has ended, at the latest (monotonic seconds)
        self.answered_by_s = 0.0

    def is_active(self, endpoint_id: str) -> bool:
        """Whether the directory has the endpoint, and it is active."""
        endpoint = self._feed.directory.endpoint(endpoint_id)
        return endpoint is not None and endpoint.status == "active"

    def sendable(self, work: OpenDelivery) -> Endpoint | None:
        """The endpoint that it may be sent to. None when the delivery, or this copy of it, has ended here or waits."""
        if not work.partition.active:
            return None  # the partition's next owner has it
        if self._settler.is_outdated(work):
            self._settler.drop_outdated(work)
            return None
        endpoint = self._feed.directory.endpoint(work.delivery.endpoint_id)
        match self._in_flight.disposition(work):
            case "pass":
                self._settler.supersede(work)
                return None
            case "cancel":
                self._settler.end(work, endpoint, "cancelled", "cancelled", "it was cancelled on request")
                return None
            case "wait":
                return None
            case "go":
                return self._if_active(work, endpoint)
            case _ as never:
                assert_never(never)

    def _if_active(self, work: OpenDelivery, endpoint: Endpoint | None) -> Endpoint | None:
        if endpoint is None:
            self._settler.end(work, None, "cancelled", "endpoint_removed", "the endpoint was removed")
            return None
        match endpoint.status:
            case "active":
                delivery = work.delivery
                if delivery.deliver_at_ms is None and delivery.expires_at_ms is None:
                    return endpoint
                return endpoint if self._is_time(work, endpoint) else None
            case "disabled":
                self._settler.end(work, endpoint, "cancelled", "endpoint_disabled", "the endpoint is disabled")
            case "paused":
                error = "the endpoint is paused: the delivery is parked until it resumes"
                self._settler.end(work, endpoint, "dead", "paused", error)
            case _ as never:
                assert_never(never)
        return None

    def _is_time(self, work: OpenDelivery, endpoint: Endpoint) -> bool:
        """Whether an attempt may begin now; if not, the delivery is deferred, or ends as expired."""
        delivery, now_ms = work.delivery, self._clock.now_ms()
        if delivery.has_expired(now_ms):
            error = f"the event expired at {iso(delivery.expires_at_ms or 0)}"
            self._settler.end(work, endpoint, "dead", EXPIRED, error)
            return False
        due_ms = scheduled_ms(delivery, now_ms)
        if due_ms is not None:
            self._settler.defer(work, due_ms, "scheduled")
        return due_ms is None

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint in the directory."""
        return self._feed.directory.endpoint(endpoint_id)

    def wait_limit_ms(self, work: OpenDelivery) -> int:
        """How long the delivery may wait for an attempt."""
        endpoint = self._feed.directory.endpoint(work.delivery.endpoint_id)
        schedule = () if endpoint is None else endpoint.schedule or get_or_standard(endpoint.profile).schedule_s
        return wait_limit_ms(schedule, scale=self._time_scale, least_ms=self._least_wait_ms)

    def end_overloaded(self, work: OpenDelivery, since_ms: int) -> None:
        """End a delivery that has waited for its endpoint for too long, since `since_ms`."""
        endpoint = self._feed.directory.endpoint(work.delivery.endpoint_id)
        error = f"it waited since {iso(since_ms)} for its endpoint, which could not take it"
        self._in_flight.delivery_ended(work.delivery, "dead")
        self._settler.end(work, endpoint, "dead", "overloaded", error)

    async def attempt(self, work: OpenDelivery) -> bool | None:
        """Send once and settle. Returns whether the receiver answered at all; None when nothing was sent."""
        delivery = work.delivery
        if not self.is_active(delivery.endpoint_id):
            await self._feed.catch_up()
        endpoint = self.sendable(work)
        if endpoint is None or (delivery.sealed is not None and not self._has_key(work, endpoint, delivery.sealed)):
            return None
        self._in_flight.request_begins(delivery)
        try:
            return await self._send(work, endpoint)
        finally:
            self._release_waiting(delivery)

    def _has_key(self, work: OpenDelivery, endpoint: Endpoint, leaf: str) -> bool:
        """Whether a sealed delivery can be opened; False: it has ended here, because its subject was erased."""
        try:
            if self._subjects is None or self._subjects.has_key(leaf):
                return True
        except ConfigError:
            return True  # the attempt fails with that reason
        self._in_flight.delivery_ended(work.delivery, "dead")
        self._settler.end(work, endpoint, "dead", ERASED, "the subject of its event was erased")
        return False

    def _release_waiting(self, delivery: Delivery) -> None:
        """The request has ended: settle the copies that waited for it, or send them."""
        onward, superseded = self._in_flight.request_ended(delivery)
        for work in superseded:
            self._settler.supersede(work)
        for work in [*onward, *superseded]:
            self._readmit(work)

    async def _send(self, work: OpenDelivery, endpoint: Endpoint) -> bool | None:
        delivery = work.delivery
        started_ms = self._clock.now_ms()
        if endpoint.transform is not None and self._waits_for_pace(work, endpoint, started_ms):
            return None
        outcome: HttpOutcome
        try:
            request = self._build(delivery, endpoint, started_ms)
            self.answered_by_s = max(self.answered_by_s, self._clock.monotonic() + request.timeout_s)
            outcome = APPENDED if endpoint.kind == "pull" else await self._sender.send(request)
        except Hindered as error:
            await self._defer_hindered(work, error)
            return None
        except (Unrepresentable, MalformedEvent) as error:  # malformed: the record was not written by fan-out
            reason = "unrepresentable" if isinstance(error, Unrepresentable) else "unreadable"
            self._settler.end(work, endpoint, "dead", reason, _detail(delivery, str(error)))
            return None
        except TransformFailed as error:
            detail = f"the endpoint's transform has no result for this event: {error}"
            self._settler.end(work, endpoint, "dead", "transform_failed", _detail(delivery, detail), result=NOT_SENT)
            return None
        except (ConfigError, Defect) as error:  # its secret cannot be opened, or a header not be written
            reason = str(error) if isinstance(error, ConfigError) else _detail(delivery, str(error))
            logger.error("dispatch.not_sent", delivery=delivery.id, endpoint=endpoint.id, error=reason)
            outcome = HttpFailure(kind=NOT_SENT, detail=f"no request could be built: {reason}", timing=HttpTiming())
        else:
            self._backoff.over()
        ended_ms = self._clock.now_ms()
        verdict = judge(
            outcome,
            attempt=delivery.attempts + 1,
            policy=self._builder.policy(endpoint),
            now_ms=ended_ms,
            dice=self._dice.roll(),
            expires_at_ms=delivery.expires_at_ms,
        )
        self._measure(delivery, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms)
        ended = self._settler.settle(work, endpoint, outcome, verdict, started_ms=started_ms, ended_ms=ended_ms)
        if ended is not None:
            self._in_flight.delivery_ended(delivery, ended)
        return was_answered(outcome)

    def _waits_for_pace(self, work: OpenDelivery, endpoint: Endpoint, now_ms: int) -> bool:
        """Defer or end the delivery if its tenant's transforms have used up their share of this worker."""
        wait_s = self._transform_pace.wait_s(endpoint.tenant, self._clock.monotonic())
        if wait_s <= 0:
            return False
        since_ms = min(work.delivery.waiting_since_ms or now_ms, now_ms)
        due_ms = next_look_ms(now_ms + round(wait_s * 1000), since_ms, self.wait_limit_ms(work), now_ms)
        if due_ms is None:
            self.end_overloaded(work, since_ms)
        else:
            self._settler.defer(work, due_ms, "transforms", since_ms=since_ms)
        return True

    async def _defer_hindered(self, work: OpenDelivery, error: Hindered) -> None:
        """Nothing was sent, for a reason of this machine: no attempt is counted against the endpoint."""
        due_ms = await self._backoff.slow_down(error)
        if work.partition.active:  # otherwise the partition's next owner has it
            self._settler.defer(work, due_ms, "hindered")

    def _opened(self, delivery: Delivery) -> Delivery:
        """The delivery with its body in plain text. Raises `Defect` and `ConfigError`."""
        if delivery.sealed is None or delivery.omitted:
            return delivery
        opened = None if self._subjects is None else self._subjects.open(delivery)
        if opened is None:
            raise Defect("the key that opens its body does not exist")
        return opened

    def _build(self, delivery: Delivery, endpoint: Endpoint, now_ms: int) -> HttpRequest:
        """The request. Raises `Defect` also for a bug, so that it ends one delivery's attempt and not the role."""
        began_s = self._clock.monotonic() if endpoint.transform is not None else None
        try:
            opened = self._opened(delivery)
            prepared = self._builder.prepared(endpoint, now_ms)
            return self._builder.request(opened, endpoint, prepared, now_ms)
        except HookstreamError:
            raise
        except Exception as error:  # it would be redelivered for ever, and stop the others
            logger.error(
                "dispatch.build_failed", delivery=delivery.id, endpoint=endpoint.id, exc_info=delivery.sealed is None
            )
            raise Defect(f"an error of the service itself: {error!r}") from error
        finally:
            if began_s is not None:
                now_s = self._clock.monotonic()
                self._transform_pace.charge(endpoint.tenant, now_s - began_s, now_s)

    def _measure(
        self,
        delivery: Delivery,
        endpoint: Endpoint,
        outcome: HttpOutcome,
        _verdict: Verdict,
        *,
        started_ms: int,
        ended_ms: int,
    ) -> None:
        result, timing = result_of(outcome), outcome.timing
        trigger = trigger_of(delivery)
        self._meter.count("attempts_total", result=result, attempt=trigger)
        if self._endpoint_meter is not None:
            seconds, ok = timing.total_ms / 1000, result == "ok"
            self._endpoint_meter.attempted(endpoint.id, endpoint.tenant, endpoint.mode, ok=ok, seconds=seconds)
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
            seconds = max(0.0, (ended_ms - delivery.wanted_at_ms) / 1000)
            self._meter.observe("delivery_latency_seconds", seconds, attempt="first" if trigger == "first" else "any")


def _detail(delivery: Delivery, error: str) -> str:
    """A sentence that may quote the event's data, unless the event has a subject."""
    return error if delivery.sealed is None else LEFT_OUT
