"""The verdict on an attempt: what its outcome means.

2xx                                 Delivered
410, if the profile disables on it  Dead(gone), and health disables the endpoint
anything else                       RetryAt(due), or Dead(reason) when the schedule is exhausted or the event expires
"""

from __future__ import annotations

import msgspec

from app.core.model.http_exchange import HttpOutcome, HttpReply
from app.core.records.attempt import EXPIRED
from app.profiles.policy import RetryPolicy
from app.roles.dispatch.schedule import delay_s, due_at_ms, retry_after_s


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """The receiver accepted it: the delivery has ended."""


class RetryAt(msgspec.Struct, frozen=True, tag="retry"):
    """Retry, not before `due_at_ms`."""

    due_at_ms: int


class Dead(msgspec.Struct, frozen=True, tag="dead"):
    """No further attempt: the delivery goes to deliveries.dead."""

    #: closed code: exhausted | expired | gone | unrepresentable | transform_failed | unreadable | paused | overloaded |
    #: erased
    reason: str


Verdict = Delivered | RetryAt | Dead


def judge(
    outcome: HttpOutcome,
    *,
    attempt: int,
    policy: RetryPolicy,
    now_ms: int,
    dice: float,
    expires_at_ms: int | None = None,
) -> Verdict:
    """Judge attempt number `attempt` (from 1) that ended at `now_ms`; `dice` is in [0, 1)."""
    retry_after = None
    if isinstance(outcome, HttpReply):
        if 200 <= outcome.status < 300:
            return Delivered()
        if outcome.status == 410 and policy.gone_410:
            return Dead("gone")
        retry_after = retry_after_s(outcome.header("retry-after"), now_ms)
    delay = delay_s(policy.schedule_s, attempt)
    if delay is None:
        return Dead("exhausted")
    due_ms = due_at_ms(now_ms, delay, scale=policy.scale, dice=dice, retry_after_s=retry_after)
    if expires_at_ms is not None and due_ms >= expires_at_ms:
        return Dead(EXPIRED)
    return RetryAt(due_ms)


def result_of(outcome: HttpOutcome) -> str:
    """The outcome as a closed word for logs and metrics: `ok`, `http_4xx`, `timeout`, …"""
    if not isinstance(outcome, HttpReply):
        return outcome.kind
    if outcome.status == 429:
        return "http_429"
    return "ok" if 200 <= outcome.status < 300 else f"http_{outcome.status // 100}xx"
