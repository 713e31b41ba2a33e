"""Endpoints, and what the registry stores of them."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.model.event import Mode

EndpointStatus = Literal["active", "paused", "disabled"]
Ordering = Literal["none", "fifo"]


class SealedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret, encrypted (AES-256-GCM; the endpoint and tenant are the associated data)."""

    #: which key of the ring sealed it
    key_id: str
    #: base64 of nonce and ciphertext
    blob: str
    created_at_ms: int
    #: not used for signing after that time; None: for ever
    expires_at_ms: int | None = None


class Suspension(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A time in which an endpoint was paused or disabled, as stretches of the log."""

    kind: Literal["paused", "disabled"]
    since_ms: int
    #: where each partition of events.raw stood at the beginning
    begin: dict[int, int]
    #: where it stood at the end; None: it goes on
    end: dict[int, int] | None = None
    #: where the endpoint's partition of deliveries.dead stood then: what it misses is put aside from there on
    dead_begin: int = 0


class OpenCircuit(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is silent, and is called only by a probe now and then."""

    #: the beginning of the silence
    since_ms: int
    #: when the next probe is due; in the past: the next delivery is the probe, or it is under way
    probe_at_ms: int


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A registered receiver URL with its subscription, secret and policy; the value of `endpoint/<id>` in registry."""

    id: str
    tenant: str
    mode: Mode
    url: str
    #: exact types, `*`, or prefixes such as `recording.*`
    events: tuple[str, ...]
    profile: str
    status: EndpointStatus = "active"
    #: why it is paused or disabled, in words
    status_reason: str | None = None
    description: str = ""
    #: customer's labels, never sent
    metadata: dict[str, str] = {}
    #: sent with every request
    headers: dict[str, str] = {}
    #: newest first; empty where the profile allows unsigned requests
    secrets: tuple[SealedSecret, ...] = ()
    #: seconds before attempt 1, 2, …; None: the profile's
    schedule: tuple[float, ...] | None = None
    #: seconds for one exchange; None: the profile's
    timeout: float | None = None
    #: requests in flight at once; None: the service's default
    max_in_flight: int | None = None
    #: requests per second; None: unlimited
    rate_limit: float | None = None
    ordering: Ordering = "none"
    #: what a dead delivery does to those behind it in its ordering key
    on_exhausted: Literal["block", "skip"] = "block"
    #: name of the profile whose signature is sent; None: its own
    signature: str | None = None
    #: failed attempts in a row that disable it; 0: never; None: as the profile says
    disable_after_failures: int | None = None
    #: days of only failures that disable it; 0: never; None: as the profile says
    disable_after_days: float | None = None
    #: since when it fails, if that has lasted or a warning was given
    failing_since_ms: int | None = None
    #: from when on one more failure disables it
    disable_at_ms: int | None = None
    #: its circuit, while it is open; None: it is closed
    circuit: OpenCircuit | None = None
    #: the version at which it was registered, enabled or given another URL: its health counts from there
    epoch: int = 1
    #: what it was not given, the latest last
    suspensions: tuple[Suspension, ...] = ()
    #: the Idempotency-Key and the fingerprint of the request that created it
    created_by: tuple[str, str] | None = None
    #: the request that its newest secret came from: create or rotate, the caller's key and its Idempotency-Key
    rotated_by: str | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    #: counts the changes, from 1
    version: int = 1


def last_disablement(endpoint: Endpoint) -> Suspension | None:
    """The last time that the endpoint was disabled and enabled again."""
    closed = [
        suspension
        for suspension in endpoint.suspensions
        if suspension.kind == "disabled" and suspension.end is not None
    ]
    return closed[-1] if closed else None
