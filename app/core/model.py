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
    created_at_ms: int = 0
    updated_at_ms: int = 0
    #: counts the changes, from 1
    version: int = 1


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The isolation unit; the value of `tenant/<id>` in registry."""

    id: str
    name: str = ""
    #: default profile of its endpoints
    profile: str = "standard"
    notify_emails: tuple[str, ...] = ()
    created_at_ms: int = 0
    updated_at_ms: int = 0
    version: int = 1


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
    sequence: int | None = None
    ordering_key: str | None = None
    replay_id: str = ""
    traceparent: str | None = None
