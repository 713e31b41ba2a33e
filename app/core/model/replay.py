"""Replays, their progress and their estimates."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from app.core.model.event import Mode

#: all: every matching event; failed: events whose delivery is dead; missing: events that were never delivered
ReplayFilter = Literal["all", "failed", "missing"]
ReplayReason = Literal["resume", "recover", "replay"]
ReplayState = Literal["pending", "running", "paused", "done", "cancelled"]


class Replay(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Deliveries that are made after the fact; the value of `replay/<id>` in registry."""

    id: str
    tenant: str
    mode: Mode
    #: empty: all matching endpoints of the tenant and mode that existed when the replay was created
    endpoint_id: str
    #: resume: what a pause has parked; recover: what a disabled endpoint has missed; replay: a time range again
    reason: ReplayReason
    #: recover, replay: partition of events.raw → the first offset, and the offset after the last one
    begin: dict[int, int]
    end: dict[int, int]
    #: resume: parked deliveries, from that offset of the endpoint's partition of deliveries.dead on
    dead_begin: int | None = None
    #: replay: patterns of event types; empty: all
    types: tuple[str, ...] = ()
    #: replay: which events are delivered
    only: ReplayFilter = "all"
    #: replay: deliveries per second at most; null: as fast as the endpoints take them
    rate: float | None = None
    #: replay: the requested time range, in milliseconds since the epoch; 0: the beginning of the log
    from_ms: int = 0
    to_ms: int = 0
    #: warnings where the requested range and the retained log differ
    messages: tuple[str, ...] = ()
    state: ReplayState = "pending"
    #: partition → the offset up to which the replay is done
    done: dict[int, int] = {}
    #: deliveries appended so far
    sent: int = 0
    #: deliveries parked so far, because their endpoint is paused: its resume delivers them
    parked: int = 0
    #: deliveries left out so far, because their endpoint is disabled or removed
    skipped: int = 0
    #: the Idempotency-Key and the fingerprint of the request that created it
    created_by: tuple[str, str] | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1


class ReplayEstimate(msgspec.Struct):
    """The result of a dry run: what a replay would deliver."""

    #: endpoint id → deliveries
    endpoints: dict[str, int] = msgspec.field(default_factory=dict)
    #: deliveries for endpoints that are disabled
    skipped: int = 0
    #: deliveries that filters refuse, whichever events `only` selects
    filtered: int = 0
    #: partition → the offset up to which events were counted
    read: dict[int, int] = msgspec.field(default_factory=dict)
    #: whether the whole range was counted
    complete: bool = True


class OldestRecord(NamedTuple):
    """The first record that a partition still has; `offset` is the end of the log if it has none."""

    offset: int
    #: milliseconds since the epoch; None: the partition is empty
    timestamp_ms: int | None

    @property
    def has_lost(self) -> bool:
        """Whether retention has removed records before it."""
        return self.offset > 0
