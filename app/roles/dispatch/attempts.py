"""Attempts as records of the topic `attempts`, from which the read model's rows are derived.

A delivery that ends without a request (endpoint removed, disabled or paused, or data that the profile cannot carry) has
one, too. It has no status, and its number is that of the last attempt, 0 if there was none.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from app.core.model.clipping import clip, clip_headers
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import NOT_SENT, HttpOutcome, HttpReply, HttpTiming
from app.core.model.timestamps import iso
from app.core.records.attempt import AVAILABLE, BODY_LIMIT, REASSIGNED, SUPERSEDED, Attempt, AttemptState, Cut
from app.core.subjects import LEFT_OUT
from app.roles.dispatch.body_decompression import decompress
from app.roles.dispatch.schedule import retry_after_s
from app.roles.dispatch.verdict import Dead, Delivered, RetryAt, Verdict, result_of

#: of a response's body, in bytes of JSON
BODY_BUDGET = 6144
#: of its headers, in bytes of JSON: all, one value, one name; and how many headers
HEADERS_BUDGET, VALUE_BUDGET, NAME_BUDGET, MAX_HEADERS = 8192, 4096, 256, 100
#: of a sentence that may quote the receiver, or the event's data, in bytes of JSON
ERROR_BUDGET = 1024


_Response = tuple[dict[str, str] | None, str | None, tuple[Cut, ...], tuple[str, ...]]
_NOTHING: _Response = (None, None, (), ())
#: of the response to a delivery whose event has a subject: it may repeat the event's data
_WITHHELD: _Response = (None, None, ("record",), ())


def sent(
    delivery: Delivery, endpoint: Endpoint, outcome: HttpOutcome, verdict: Verdict, *, started_ms: int, ended_ms: int
) -> Attempt:
    """The attempt of a delivery for which a request was made."""
    reply = outcome if isinstance(outcome, HttpReply) else None
    state, next_at, reason = ending_of(verdict)
    headers, body, cut, remarks = _stored(reply, delivery, state, ended_ms)
    words = "" if state == "delivered" else "; ".join((_in_words(outcome, delivery), *remarks))
    error = clip(words, ERROR_BUDGET)
    return Attempt(
        delivery_id=delivery.id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        endpoint_id=delivery.endpoint_id,
        tenant=delivery.tenant,
        mode=delivery.mode,
        attempt=delivery.attempts + 1,
        trigger=trigger_of(delivery),
        state=state,
        result=result_of(outcome),
        started_at=iso(started_ms),
        duration_ms=round(outcome.timing.total_ms, 3),
        profile=endpoint.profile,
        url=endpoint.url,
        status=reply.status if reply else None,
        error=error or None,
        reason=reason,
        next_attempt_at=next_at,
        connect_ms=round(outcome.timing.connect_ms, 3),
        first_byte_ms=round(outcome.timing.first_byte_ms, 3),
        response_headers=headers,
        response_body=body,
        cut=cut if error == words else ("error", *cut),
        remarks=remarks,
        latency_ms=max(0, ended_ms - delivery.wanted_at_ms) if delivery.accepted_at_ms else 0,
        created_at=delivery.created_at,
        accepted_at_ms=delivery.accepted_at_ms,
        source=delivery.source,
        sequence=delivery.sequence,
        ordering_key=delivery.ordering_key,
        replay_id=delivery.replay_id or None,
        arrival=delivery.arrival,
        revision=delivery.revision,
    )


#: the outcome of a delivery that goes to the log of a pull endpoint, in place of a request's
APPENDED = HttpReply(status=202, headers=(), body=b"", truncated=False, timing=HttpTiming())


def available(delivery: Delivery, endpoint: Endpoint, *, started_ms: int, ended_ms: int) -> Attempt:
    """The attempt of a delivery that goes to the log of a pull endpoint."""
    attempt = sent(delivery, endpoint, APPENDED, Delivered(), started_ms=started_ms, ended_ms=ended_ms)
    return msgspec.structs.replace(attempt, status=None, result=AVAILABLE)


def unsent(
    delivery: Delivery,
    endpoint: Endpoint | None,
    state: AttemptState,
    reason: str,
    error: str,
    now_ms: int,
    *,
    result: str | None = None,
) -> Attempt:
    """The attempt of a delivery that ended without a request; its number is that of the last request.

    `result`: None: it is the reason.
    """
    words = clip(error, ERROR_BUDGET)
    return Attempt(
        delivery_id=delivery.id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        endpoint_id=delivery.endpoint_id,
        tenant=delivery.tenant,
        mode=delivery.mode,
        attempt=delivery.attempts,
        trigger=trigger_of(delivery),
        state=state,
        result=result or reason,
        started_at=iso(now_ms),
        duration_ms=0.0,
        profile=endpoint.profile if endpoint else "",
        url=endpoint.url if endpoint else "",
        error=words,
        reason=reason,
        cut=() if words == error else ("error",),
        created_at=delivery.created_at,
        accepted_at_ms=delivery.accepted_at_ms,
        source=delivery.source,
        sequence=delivery.sequence,
        ordering_key=delivery.ordering_key,
        replay_id=delivery.replay_id or None,
        arrival=delivery.arrival,
        revision=delivery.revision,
    )


def superseded(attempt: Attempt) -> Attempt:
    """A failed attempt of an ordered delivery whose successor is released already: no retry follows."""
    return msgspec.structs.replace(attempt, state="cancelled", reason=SUPERSEDED, next_attempt_at=None)


def reassigned(attempt: Attempt) -> Attempt:
    """A failed attempt beside which another copy of the delivery goes on, such as that of the partition's new owner.

    The delivery is attempted again under the same number, and that attempt decides what follows.
    """
    return msgspec.structs.replace(attempt, state="retrying", reason=REASSIGNED, next_attempt_at=None)


def trigger_of(delivery: Delivery) -> str:
    """Why the delivery's next attempt is made."""
    if delivery.manual is not None:
        return "manual"
    return "retry" if delivery.attempts else "replay" if delivery.replay_id else "first"


def ending_of(verdict: Verdict) -> tuple[AttemptState, str | None, str | None]:
    """State, time of the next attempt and reason after an attempt with that verdict."""
    match verdict:
        case Delivered():
            return "delivered", None, None
        case RetryAt(due_at_ms=due):
            return "retrying", iso(due), None
        case Dead(reason=why):
            return "dead", None, why
        case _:
            assert_never(verdict)


def _in_words(outcome: HttpOutcome, delivery: Delivery) -> str:
    if isinstance(outcome, HttpReply):
        return f"the endpoint answered {outcome.status}"
    return outcome.detail if delivery.sealed is None or outcome.kind == NOT_SENT else f"{outcome.kind}: {LEFT_OUT}"


def _stored(reply: HttpReply | None, delivery: Delivery, state: AttemptState, ended_ms: int) -> _Response:
    if reply is None:
        return _NOTHING
    return _response(reply, state, ended_ms) if delivery.sealed is None else _WITHHELD


def _response(reply: HttpReply, state: AttemptState, ended_ms: int) -> _Response:
    """Headers and body for the attempt, which of them were cut, and remarks about the response."""
    cut: list[Cut] = []
    headers = None
    remarks = list(reply.remarks)
    if state != "delivered":
        headers, shortened = clip_headers(
            reply.headers, entries=MAX_HEADERS, name=NAME_BUDGET, value=VALUE_BUDGET, total=HEADERS_BUDGET
        )
        if shortened:
            cut.append("headers")
        retry_after = reply.header("retry-after")
        if retry_after is not None and retry_after_s(retry_after, ended_ms) is None:
            remarks.append(f"its Retry-After was not understood: {_quoted(retry_after)}")
    body, remark = _readable(reply)
    if remark is not None:
        remarks.append(remark)
    text = body[:BODY_LIMIT].decode("utf-8", "replace")
    short = clip(text, BODY_BUDGET)
    if reply.truncated or len(body) > BODY_LIMIT or short != text:
        cut.append("body")
    return headers, short or None, tuple(cut), tuple(remarks)


def _readable(reply: HttpReply) -> tuple[bytes, str | None]:
    """The decompressed body, or the remark that it cannot be decompressed."""
    encoding = reply.header("content-encoding")
    if not reply.body or encoding is None or encoding.strip().lower() in ("", "identity"):
        return reply.body, None
    body = decompress(reply.body, encoding, BODY_LIMIT + 1)
    if body is None:
        return b"", f"its body is compressed ({_quoted(encoding)}) and not shown"
    return body, None


def _quoted(text: str) -> str:
    """A header's value in quotes, on one line, clipped."""
    return repr("".join(each if each.isprintable() else " " for each in text[:60]))
