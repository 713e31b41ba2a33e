"""Endpoints as the registry stores them; fields that customers may change are declared in `endpoint_settings.py`.

A process may hold a million. They hold no cycles, so the collector does not look at them (`gc=False`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeVar

import msgspec

from app.core.model.endpoint_settings import EndpointSettings
from app.core.model.event import Mode

EndpointStatus = Literal["active", "paused", "disabled"]
#: as people see it: an endpoint that is paused until its receiver agrees is `unverified`
ShownStatus = Literal["active", "paused", "disabled", "unverified"]


class SealedSecret(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A signing secret, encrypted (AES-256-GCM; the endpoint and tenant are the associated data)."""

    #: the id of the key in the key ring that sealed it
    key_id: str
    #: base64 of nonce and ciphertext
    blob: str
    created_at_ms: int
    #: when it stops being used for signing; null: never
    expires_at_ms: int | None = None


S = TypeVar("S", bound=SealedSecret)


class SigningKey(SealedSecret, frozen=True, kw_only=True, gc=False):
    """An Ed25519 key of Standard Webhooks v1a: the private half is sealed as a signing secret is."""

    #: the public half: `whpk_` and the base64 of 32 bytes
    public: str


class Suspension(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A time in which an endpoint was paused or disabled, as offsets."""

    kind: Literal["paused", "disabled"]
    since_ms: int
    #: the end offsets of events.raw at the beginning, by partition
    begin: dict[int, int]
    #: the end offsets of events.raw at the end, by partition; null: it has not ended
    end: dict[int, int] | None = None
    #: the end offset of the endpoint's partition of deliveries.dead at the beginning: parked deliveries follow
    dead_begin: int = 0


class OpenCircuit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The open circuit of a silent endpoint, which gets only single deliveries as probes."""

    #: when the silence began, in milliseconds since the epoch
    since_ms: int
    #: when the next probe is due; if in the past, the next delivery is the probe, or the probe is in flight
    probe_at_ms: int


class Unverified(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The receiver has not agreed to deliveries yet."""

    #: the endpoint's version from which on its agreement is missing; a handshake names it
    version: int
    since_ms: int
    #: whether its agreement also resumes the endpoint; false: it was paused on request, too
    resumes: bool = True
    #: handshakes that did not bring an agreement since `counted_from_ms`
    attempts: int = 0
    #: the beginning of the hour in which handshakes are counted
    counted_from_ms: int = 0
    #: the latest handshake: when, its outcome in a word, and in a sentence
    last_at_ms: int | None = None
    last_result: str | None = None
    last_error: str | None = None


class Endpoint(EndpointSettings, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A receiver's URL with its subscription, secrets and policy; the value of `endpoint/<id>` in registry."""

    id: str
    tenant: str
    mode: Mode
    profile: str
    status: EndpointStatus = "active"
    #: why it is paused or disabled, in words
    status_reason: str | None = None
    #: newest first; empty where the profile allows unsigned requests
    secrets: tuple[SealedSecret, ...] = ()
    #: newest first; empty: none was needed yet
    signing_keys: tuple[SigningKey, ...] = ()
    #: the values of sensitive custom headers, by name; `headers` has a mask in their place
    sealed_headers: dict[str, SealedSecret] = {}
    #: the secret of `auth`, which has a mask in its place; null: `auth` has none
    sealed_auth: SealedSecret | None = None
    #: when the client certificate of `auth` expires; null: it has none
    auth_expires_at_ms: int | None = None
    #: since when it fails; set once that has lasted, or a warning was sent
    failing_since_ms: int | None = None
    #: from then on one more failure disables it
    disable_at_ms: int | None = None
    #: its circuit; null: it is closed
    circuit: OpenCircuit | None = None
    #: its receiver has not agreed to deliveries yet; null: it has, or need not
    unverified: Unverified | None = None
    #: the origin to which its receiver has agreed (CloudEvents); requests repeat it
    request_origin: str | None = None
    #: the version at which it was registered, enabled or given another URL: its health counts from there
    epoch: int = 1
    #: the times in which it was paused or disabled, the latest last
    suspensions: tuple[Suspension, ...] = ()
    #: the Idempotency-Key and the fingerprint of the request that created it
    created_by: tuple[str, str] | None = None
    #: the request that set its newest secret: create or rotate, the caller's key and its Idempotency-Key
    rotated_by: str | None = None
    #: the request that set its newest signing key, in the same form
    key_rotated_by: str | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    #: counts the changes, from 1
    version: int = 1

    @property
    def signer(self) -> str:
        """The name of the profile whose signature its requests have."""
        return self.signature or self.profile

    @property
    def shown_status(self) -> ShownStatus:
        """The status as people see it."""
        return "unverified" if self.unverified is not None and self.status == "paused" else self.status

    @property
    def sealed(self) -> Iterator[SealedSecret]:
        """All its sealed values: signing secrets and keys, header values, and the secret of `auth`."""
        yield from self.secrets
        yield from self.signing_keys
        yield from self.sealed_headers.values()
        if self.sealed_auth is not None:
            yield self.sealed_auth

    @property
    def secret_owner(self) -> str:
        """The owner to which its sealed secrets are bound."""
        return f"{self.tenant}/{self.id}"


def in_use(sealed: tuple[S, ...], now_ms: int) -> tuple[S, ...]:
    """Those that still sign."""
    return tuple(each for each in sealed if each.expires_at_ms is None or each.expires_at_ms > now_ms)


def last_disablement(endpoint: Endpoint) -> Suspension | None:
    """The last suspension in which the endpoint was disabled and that has ended; None if there is none."""
    closed = [
        suspension
        for suspension in endpoint.suspensions
        if suspension.kind == "disabled" and suspension.end is not None
    ]
    return closed[-1] if closed else None
