"""Bodies of /v1/replays."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.api.contract.fields import Input, Pattern
from app.core import limits
from app.core.model.replay import ReplayFilter, ReplayReason, ReplayState


class ReplayIn(Input, frozen=True, kw_only=True):
    """A time range to replay."""

    #: ISO 8601 with zone, a time ago such as `2h` or `3d`, or `begin`
    from_: Annotated[str, Meta(max_length=64, examples=["2026-01-31T08:00:00Z", "2h"])] = msgspec.field(name="from")
    #: the same, or `now`: the end is fixed when the replay is asked for
    to: Annotated[str, Meta(max_length=64)] = "now"
    #: id or uid of one endpoint; null: all that match
    endpoint: Annotated[str, Meta(min_length=1, max_length=limits.UID)] | None = None
    #: event types: exact, `*`, or a prefix such as `recording.*`; empty: all
    types: Annotated[list[Pattern], Meta(max_length=limits.REPLAY_TYPES)] = []
    #: all: every matching event; failed: deliveries that ended dead, without a later attempt; missing: events that were
    #: never handed to the endpoint
    only: ReplayFilter = "all"
    #: deliveries per second at most; null: as fast as the endpoints take them
    rate: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    #: count what would be delivered, and deliver nothing
    dry_run: bool = False


class ReplayProgressOut(msgspec.Struct, frozen=True, kw_only=True):
    """Progress, counted in records of `events.raw` of all tenants and types."""

    read: int
    of: int


class ReplayEstimateOut(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay would deliver."""

    deliveries: int
    #: endpoint → deliveries
    endpoints: dict[str, int]
    #: deliveries that would not be made, because their endpoint is disabled
    skipped: int
    #: deliveries that would not be made, because the endpoint's filter refuses the event; of all events of the range,
    #: whatever `only` is
    filtered: int
    #: false: counting took too long and was given up; `messages` says where
    complete: bool


class ReplayOut(msgspec.Struct, frozen=True, kw_only=True):
    """A replay: past events that are delivered to an endpoint."""

    #: null: it was a trial
    id: str | None
    #: null: all that match
    endpoint: str | None
    #: resume: what a pause held back; recover: what a disabled endpoint missed; replay: a span of time once more
    reason: ReplayReason
    #: counted: a trial
    state: ReplayState | Literal["counted"]
    #: replay: the span, as it was asked for; null: from the beginning, or another kind of replay
    from_: str | None = msgspec.field(name="from")
    to: str | None
    types: list[str]
    only: ReplayFilter
    rate: float | None
    #: the parts of the requested range that the log no longer holds
    messages: list[str]
    #: null: it is not known how much there is
    progress: ReplayProgressOut | None
    #: deliveries, up to where it is done for all endpoints
    sent: int
    #: deliveries that wait for the resume of their endpoint, which is paused
    put_aside: int
    #: deliveries that were not made, because their endpoint is disabled or gone
    skipped: int
    #: only of a trial
    counted: ReplayEstimateOut | None
    created_at: str
    updated_at: str
