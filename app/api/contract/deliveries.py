"""Bodies of deliveries, attempts, retries and cancellations."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.api.contract.fields import Input
from app.api.contract.webhooks import TestTiming
from app.core.model.delivery import ManualAction
from app.core.model.event import Mode
from app.core.readmodel.rows import DeliveryState

TimeText = Annotated[str, Meta(max_length=64, examples=["2026-01-31T08:00:00Z", "2h"])]
FilterText = Annotated[str, Meta(min_length=1, max_length=256)]


class AdviceOut(msgspec.Struct, frozen=True, kw_only=True):
    """The meaning of an outcome, and advice."""

    #: what happened
    what: str
    #: what to do about it; empty: nothing
    do: str


class DeliveryOut(msgspec.Struct, frozen=True, kw_only=True):
    """The current state of one event's delivery to one endpoint."""

    id: str
    event_id: str
    event_type: str
    endpoint: str
    mode: Mode
    #: pending: no attempt yet; retrying: it waits for its next one; paused: kept for its endpoint's resume
    state: DeliveryState
    attempt_count: int
    #: when the event was accepted
    created_at: str
    updated_at: str
    #: while it is retrying, or pending and its event has a `deliver_at`
    next_attempt_at: str | None
    #: of the last attempt: HTTP status, the outcome as a word (`ok`, `timeout`, `http_5xx` …), why it failed
    status: int | None
    result: str | None
    error: str | None
    hint: AdviceOut | None
    duration_ms: float | None
    #: why it is dead or cancelled
    reason: str | None
    #: the replay that made it
    replay: str | None
    sequence: int | None
    ordering_key: str | None


class ResponseOut(msgspec.Struct, frozen=True, kw_only=True):
    """The response."""

    status: int
    #: only of failed attempts
    headers: dict[str, str]
    #: the beginning of it
    body: str | None


class AttemptOut(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP request of a delivery."""

    #: from 1; after a crash of ours two may have one number
    number: int
    #: first | retry | replay | manual (on request) | test
    trigger: str
    #: what it made of the delivery: delivered | retrying | dead | cancelled
    state: str
    started_at: str
    duration_ms: float
    #: where the time went
    timing: TestTiming
    url: str
    #: HTTP status; null: no answer
    status: int | None
    result: str
    error: str | None
    hint: AdviceOut | None
    next_attempt_at: str | None
    response: ResponseOut | None


class RequestOut(msgspec.Struct, frozen=True, kw_only=True):
    """The request of the last attempt, rebuilt from the event and the endpoint's current settings."""

    method: Literal["POST"]
    url: str
    #: signatures, and headers of the endpoint that may hold a secret, are hidden; null: it cannot be made any more
    headers: dict[str, str] | None
    body: str | None
    #: why the body is null
    body_note: str | None


class DeliveryDetail(DeliveryOut, frozen=True, kw_only=True):
    """A delivery with its attempts."""

    #: oldest first
    attempts: list[AttemptOut]
    #: null: no request was made yet
    request: RequestOut | None


class ManualActionOut(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted retry or cancellation."""

    id: str
    asked: ManualAction
    #: the delivery's state when it was asked
    was: DeliveryState
    #: of a retry: the number that the attempt will have, if none is in flight now
    attempt: int | None


class DeliverySelection(Input, frozen=True, kw_only=True):
    """A filter for deliveries, of a request about many. Omitted fields match everything."""

    #: id or uid
    endpoint: FilterText | None = None
    event: FilterText | None = None
    #: exact, or a prefix such as `recording.*`
    type: FilterText | None = None
    #: HTTP status of the last attempt, or its class: `503`, `5xx`
    status: FilterText | None = None
    #: outcome of the last attempt: `timeout`, `refused`, `http_5xx` …
    result: FilterText | None = None
    replay: FilterText | None = None
    #: ISO 8601 with zone, or a time ago such as `2h`: when the event was accepted
    since: TimeText | None = None
    until: TimeText | None = None
    #: at most so many in one request
    limit: Annotated[int, Meta(ge=1, le=1000)] = 1000
    #: `next_cursor` of the request before
    cursor: Annotated[str, Meta(max_length=512)] | None = None
    #: count, and change nothing
    dry_run: bool = False


class BulkRetryIn(DeliverySelection, frozen=True, kw_only=True):
    """A filter for deliveries to retry. Omitted fields match everything."""

    #: pending: includes deliveries that wait for an open circuit or a rate limit
    state: Annotated[
        list[Literal["dead", "cancelled", "delivered", "retrying", "pending"]], Meta(min_length=1, max_length=5)
    ] = msgspec.field(default_factory=lambda: ["dead"])


class BulkDiscardIn(DeliverySelection, frozen=True, kw_only=True):
    """A filter for dead deliveries to discard. Omitted fields match everything."""

    #: why, for the audit log; required unless it is a dry run
    why: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class BulkDiscardOut(msgspec.Struct, frozen=True, kw_only=True):
    """The number of dead deliveries discarded, or matched in a dry run."""

    dry_run: bool
    #: dead deliveries that match now; only of a dry run
    matched: int | None
    #: there are more than were counted
    matched_more: bool
    discarded: int
    #: give it as `cursor` to go on with those that match beyond `limit`; null: that was all
    next_cursor: str | None


class BulkRetryOut(msgspec.Struct, frozen=True, kw_only=True):
    """The number of deliveries retried, or matched in a dry run."""

    dry_run: bool
    #: deliveries that match now; only of a dry run
    matched: int | None
    #: there are more than were counted
    matched_more: bool
    retried: int
    #: why others that match were left out → how many
    skipped: dict[str, int]
    #: give it as `cursor` to go on with those that match beyond `limit`; null: that was all
    next_cursor: str | None
