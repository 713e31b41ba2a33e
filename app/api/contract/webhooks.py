"""Bodies of endpoints and their actions; the OpenAPI document is generated from these types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.contract.fields import EventPatterns, Input, ProfileName, TypeName
from app.core import limits
from app.core.model.endpoint import ShownStatus
from app.core.model.endpoint_settings import FIELDS, EndpointSettings, meta_of
from app.core.model.event import Mode

Secret = Annotated[str, Meta(min_length=1, max_length=limits.SECRET)]


class WebhookIn(EndpointSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to create."""

    url: Annotated[str, meta_of(FIELDS[0])] = ""  # a pull endpoint has none
    events: EventPatterns  # type: ignore[assignment] # one pattern need not be in a list
    #: wire format; default: the tenant's
    profile: ProfileName | None = None
    #: signing secret; one is generated when it is left out
    secret: Secret | None = None
    #: private Ed25519 key, `whsk_…`; one is made when the scheme needs it and it is left out
    signing_key: Secret | None = None
    #: send without a signature, where the profile allows it
    unsigned: bool = False
    #: false: registered, but disabled
    active: bool = True


if TYPE_CHECKING:

    class WebhookPatch(WebhookIn, frozen=True, kw_only=True):
        """The type for mypy: the fields of `WebhookIn` that can be changed, or UNSET."""
else:
    WebhookPatch = msgspec.defstruct(
        "WebhookPatch",
        [
            *((field.name, field.type | UnsetType, UNSET) for field in FIELDS if field.name != "events"),
            ("events", EventPatterns | UnsetType, UNSET),
            ("active", bool | UnsetType, UNSET),
        ],
        module=__name__,
        namespace={
            "__doc__": "Fields of an endpoint to change. null restores the default of the profile or the service."
        },
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


class SecretInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret without its value."""

    created_at: str
    #: it signs until then; null: until it is rotated
    expires_at: str | None
    #: whether it signs now
    active: bool


class PublishedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key that verifies v1a and RFC 9421 signatures."""

    #: `whpk_` and the base64 of 32 bytes
    public_key: str
    created_at: str
    #: it signs until then; null: until it is rotated
    expires_at: str | None


class PublishedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The public keys of an endpoint that sign now, newest first."""

    keys: list[PublishedKey]


class SourceAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests to endpoints come from: addresses, and networks in CIDR notation."""

    addresses: list[str]


class Recoverable(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint missed while it was disabled: `POST …/recover` delivers it."""

    since: str
    #: records of events.raw in that time, of all tenants and types
    records_at_most: int


class CircuitOut(msgspec.Struct, frozen=True, kw_only=True):
    """The circuit breaker of an endpoint. An endpoint that does not respond at all gets only a probe now and then."""

    #: closed: deliveries are sent; open: they wait; half_open: they wait for the answer to the next one, the probe
    state: Literal["closed", "open", "half_open"]
    #: the beginning of the silence; null: it is closed
    since: str | None
    #: when the next probe is due; null: it is closed
    next_probe_at: str | None


class UnverifiedOut(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint waits for whose receiver has not agreed to deliveries: `POST …/verify` asks it."""

    since: str
    #: the latest handshake; null: there was none
    last_at: str | None
    #: its outcome: `waiting`, `declined`, `bad_rate`, `wrong_challenge`, `timeout`, …
    last_result: str | None
    #: its outcome in a sentence
    last_error: str | None


class Webhook(EndpointSettings, frozen=True, kw_only=True, omit_defaults=False):
    """An endpoint, with the settings that apply where it has none of its own."""

    id: str
    profile: str
    #: unverified: its deliveries are parked until its receiver agrees to them
    status: ShownStatus
    #: why it is paused or disabled
    status_reason: str | None
    mode: Mode
    #: since when every attempt has failed; null: it works, or the trouble is too young to be told
    failing_since: str | None
    #: from then on one more failure disables it; null: there is no such time
    disable_at: str | None
    #: when the client certificate of `auth` expires; null: it has none
    auth_expires_at: str | None
    circuit: CircuitOut
    #: its receiver has not agreed to deliveries yet; null: it has, or need not
    unverified: UnverifiedOut | None
    #: newest first; empty: requests are not signed
    secrets: list[SecretInfo]
    #: the Ed25519 keys that sign where `signature_scheme` asks for it, newest first
    signing_keys: list[PublishedKey]
    recoverable: Recoverable | None
    #: counts the changes; also the ETag
    version: int
    created_at: str
    updated_at: str
    #: the signing secret; only in the answer to its creation or rotation
    secret: str | UnsetType = UNSET
    #: why a repeated request does not show the secret
    secret_hint: str | UnsetType = UNSET


class VerifyOut(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a handshake."""

    #: whether the receiver has agreed to deliveries
    agreed: bool
    #: `agreed`, `waiting` (it may still agree by callback), `declined`, `bad_rate`, `wrong_challenge`, `timeout`, …
    result: str
    #: why it has not agreed, in words
    reason: str | None
    webhook: Webhook


class RotateIn(Input, frozen=True, kw_only=True):
    """Options for rotating the secret."""

    #: the new secret; one is made when it is left out
    secret: Secret | None = None
    #: seconds during which the earlier secret signs along: 0 to 7 days
    overlap: Annotated[int, Meta(ge=0, le=604_800)] = 86_400
    #: sign no more, where the profile allows it
    remove: bool = False


class RotateKeyIn(Input, frozen=True, kw_only=True):
    """Options for rotating the signing key."""

    #: the new private key, `whsk_…`; one is made when it is left out
    signing_key: Secret | None = None
    #: seconds during which the earlier key signs along: 0 to 7 days
    overlap: Annotated[int, Meta(ge=0, le=604_800)] = 86_400


class TestIn(Input, frozen=True, kw_only=True):
    """The test event to send."""

    #: event type; default: the first that the endpoint subscribes to
    type: TypeName | None = None
    #: the event's data; default: the catalogue's example
    data: msgspec.Raw | UnsetType = UNSET


class TestTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds."""

    connect: float
    first_byte: float
    total: float


class TestRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request."""

    headers: dict[str, str]
    body: str


class TestResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The response."""

    status: int
    headers: dict[str, str]
    #: the beginning of it
    body: str


class TestOut(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a test event."""

    ok: bool
    #: HTTP status; null: no answer
    status: int | None
    #: beginning of the answer's body
    body: str | None
    #: ok, http_5xx, timeout, refused, blocked_address, …
    result: str
    #: why it failed, in words
    reason: str | None
    event_id: str
    #: milliseconds in all
    time_ms: float
    timing: TestTiming
    request: TestRequest
    response: TestResponse | None
