"""The nouns of Hookstream as values: event, endpoint, tenant, delivery (glossary: DESIGN section 1)."""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["live", "test"]
Status = Literal["active", "paused", "disabled"]
Ordering = Literal["none", "fifo"]
#: how `Delivery.body` is written: our JSON, a structured CloudEvent, or the bare data of a binary CloudEvent
Format = Literal["native", "ce-structured", "ce-binary"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One record of events.raw, understood."""

    #: the producer's id, or one derived from the record's coordinates
    id: str
    type: str
    tenant: str
    mode: Mode
    #: ISO 8601, as the producer gave it, or the record's timestamp
    created_at: str
    #: the record's value, byte for byte
    body: bytes
    format: Format
    #: what makes two records the same event within the TTL; None: nothing but the record itself
    idempotency_key: str | None = None
    ordering_key: str | None = None
    traceparent: str | None = None


class SealedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret, encrypted (AES-256-GCM; the endpoint and tenant are the associated data)."""

    #: which key of the ring sealed it
    key_id: str
    #: base64 of nonce and ciphertext
    blob: str
    created_at_ms: int
    #: not used for signing after that time; None: for ever
    expires_at_ms: int | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    status: Status = "active"
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
    schedule_s: tuple[float, ...] | None = None
    #: seconds for one exchange; None: the profile's
    timeout_s: float | None = None
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
    holds: tuple[Hold, ...] = ()
    #: the Idempotency-Key and the fingerprint of the request that created it
    created_by: tuple[str, str] | None = None
    #: the request that its newest secret came from: create or rotate, the caller's key and its Idempotency-Key
    rotated_by: str | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    #: counts the changes, from 1
    version: int = 1


class Brand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a tenant's portal looks."""

    #: empty: the tenant's name
    name: str = ""
    #: `#rrggbb`; empty: ours
    color: str = ""
    #: https:// or data:image/…; empty: none
    logo: str = ""


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The isolation unit; the value of `tenant/<id>` in registry."""

    id: str
    name: str = ""
    #: default profile of its endpoints
    profile: str = "standard"
    notify_emails: tuple[str, ...] = ()
    #: endpoints may subscribe to types that no catalogue knows; None: only where the profile is `standard`
    open_catalogue: bool | None = None
    #: None: as ours
    brand: Brand | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1


Scope = Literal["read", "write"]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key of the management API; the value of `key/<id>` in registry. The key itself is nowhere."""

    id: str
    tenant: str
    mode: Mode
    #: hex SHA-256 of the key
    digest: str
    #: its last four characters, for people
    last4: str
    name: str = ""
    scopes: tuple[Scope, ...] = ("read", "write")
    #: None: for ever
    expires_at_ms: int | None = None
    created_at_ms: int = 0
    version: int = 1


class EventType(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event type of a tenant's own; the value of `type/<tenant>/<mode>/<name>` in registry."""

    name: str
    tenant: str
    mode: Mode
    description: str = ""
    #: JSON Schema 2020-12 of `data`, as JSON text; None: anything
    schema: str | None = None
    #: what happens to an event that does not satisfy the schema
    enforce: Literal["off", "warn", "reject"] = "off"
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1


#: all: every matching event; failed: deliveries that ended dead; missing: what was never handed to the endpoint
Only = Literal["all", "failed", "missing"]
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
    only: Only = "all"
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
    aside: int = 0
    #: deliveries not made, because their endpoint is disabled or gone
    skipped: int = 0
    #: the Idempotency-Key, and what was asked with it
    created_by: tuple[str, str] | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1


class Turn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was last asked of a delivery that waited somewhere; the value of `turn/<delivery id>` in registry.

    Its copies of earlier turns are passed over, wherever they wait (core/turns.py).
    """

    #: the delivery's
    id: str
    #: grows: the time of the request, in milliseconds
    number: int
    #: copies of earlier turns end as cancelled, since no copy of this turn says so itself
    cancel: bool = False
    #: where the delivery's event is in events.raw, as its record says it; None: nobody knows
    source: str | None = None


#: what somebody wants of a delivery: an attempt at once, or its end
Asked = Literal["retry", "cancel"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint, on its way; a record of `deliveries` and of its delay topics."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    tenant: str
    mode: Mode
    created_at: str
    #: the event's record value, byte for byte
    body: bytes
    format: Format = "native"
    #: when the event was appended to events.raw
    accepted_at_ms: int = 0
    #: attempts made so far
    attempts: int = 0
    #: not before that time; 0: at once
    due_at_ms: int = 0
    #: since when it waits for its next attempt, which its endpoint could not take; 0: it does not
    waiting_since_ms: int = 0
    sequence: int | None = None
    ordering_key: str | None = None
    replay_id: str = ""
    traceparent: str | None = None
    #: the offset of its arrival in deliveries.ordered; None: it was not ordered
    arrival: int | None = None
    #: the offset of the record in deliveries.ordered that let it go; grows within its line. None: it was not ordered
    released: int | None = None
    #: counts up with what is asked of it; 0: nothing ever was
    turn: int = 0
    #: what this copy was made for; None: the ordinary way, or the retries after a request
    asked: Asked | None = None
    #: where its event is in events.raw: `<partition>:<offset>`; None: nobody knows
    source: str | None = None
    #: bytes of the event that a topic did not take; 0: it is whole
    omitted: int = 0
