"""Replays, their progress and their estimates."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from app.core.model.event import Mode

#: all: every matching event; failed: deliveries that ended dead; missing: what was never handed to the endpoint
ReplayFilter = Literal["all", "failed", "missing"]
ReplayReason = Literal["resume", "recover", "replay"]
ReplayState = Literal["pending", "running", "paused", "done", "cancelled"]


class Replay(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Events that are delivered after the fact; the value of `replay/<id>` in registry."""

    id: str
    tenant: str
    mode: Mode
    #: empty: all endpoints of the tenant and mode that match and were there when it was asked for
    endpoint_id: str
    #: resume: what a pause has held back; recover: what a disabled endpoint has missed; replay: a span of time again
    reason: ReplayReason
    #: recover, replay: partition of events.raw → the first offset, and the offset after the last one
    begin: dict[int, int]
    end: dict[int, int]
    #: resume: what was put aside in deliveries.dead, from that offset of the endpoint's partition on
    dead_begin: int | None = None
    #: replay: patterns of the event types; empty: all
    types: tuple[str, ...] = ()
    #: replay: which deliveries are made
    only: ReplayFilter = "all"
    #: replay: deliveries per second at most; None: as fast as the endpoints take them
    rate: float | None = None
    #: replay: the span that was asked for; 0: the beginning
    from_ms: int = 0
    to_ms: int = 0
    #: what is no longer there of what was asked for
    messages: tuple[str, ...] = ()
    state: ReplayState = "pending"
    #: partition → the offset up to which it is done
    done: dict[int, int] = {}
    #: deliveries appended so far
    sent: int = 0
    #: deliveries put aside, because their endpoint is paused: its resume delivers them
    parked: int = 0
    #: deliveries not made, because their endpoint is disabled or gone
    skipped: int = 0
    #: the Idempotency-Key, and what was asked with it
    created_by: tuple[str, str] | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1


class ReplayEstimate(msgspec.Struct):
    """What a replay would deliver."""

    #: endpoint id → deliveries
    endpoints: dict[str, int] = msgspec.field(default_factory=dict)
    #: deliveries for endpoints that are disabled
    skipped: int = 0
    #: partition → the offset up to which was counted
    read: dict[int, int] = msgspec.field(default_factory=dict)
    complete: bool = True


class OldestRecord(NamedTuple):
    """The first record that a partition still has."""

    offset: int
    #: None: it has none
    timestamp_ms: int | None

    @property
    def has_lost(self) -> bool:
        """Whether retention has removed records before it."""
        return self.offset > 0
