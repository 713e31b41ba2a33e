"""What the management API takes and gives: the types from which its OpenAPI document is made."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.contract.fields import Description, EventPatterns, Input, Metadata, ProfileName, TypeName, Url
from app.core import limits
from app.core.model.endpoint import EndpointStatus, Ordering
from app.core.model.event import Mode

Secret = Annotated[str, Meta(min_length=1, max_length=limits.SECRET)]
CustomHeaders = Annotated[
    dict[Annotated[str, Meta(max_length=limits.HEADER_NAME)], Annotated[str, Meta(max_length=limits.HEADER_VALUE)]],
    Meta(max_length=limits.HEADERS),
]
Schedule = Annotated[
    list[Annotated[float, Meta(ge=0, le=limits.DELAY_S)]], Meta(min_length=1, max_length=limits.SCHEDULE)
]
Timeout = Annotated[float, Meta(ge=limits.TIMEOUT_S[0], le=limits.TIMEOUT_S[1])]
Rate = Annotated[float, Meta(ge=limits.RATE[0], le=limits.RATE[1])]
InFlight = Annotated[int, Meta(ge=limits.IN_FLIGHT[0], le=limits.IN_FLIGHT[1])]
Failures = Annotated[int, Meta(ge=0, le=limits.FAILURES)]
Days = Annotated[float, Meta(ge=0, le=limits.DAYS)]


class WebhookIn(Input, frozen=True, kw_only=True):
    """An endpoint to create."""

    url: Url
    events: EventPatterns
    #: wire format; default: the tenant's
    profile: ProfileName | None = None
    #: signing secret; one is made when it is left out
    secret: Secret | None = None
    #: send without a signature, where the profile allows it
    unsigned: bool = False
    #: name of the profile whose signature is sent instead of the profile's own
    signature: ProfileName | None = None
    #: false: registered, but disabled
    active: bool = True
    description: Description = ""
    #: labels for yourself, never sent
    metadata: Metadata = {}
    #: sent with every request; 16 KiB in all
    headers: CustomHeaders = {}
    #: seconds before attempt 1, 2, …; 30 days in all
    schedule: Schedule | None = None
    #: seconds for one request
    timeout: Timeout | None = None
    #: requests per second
    rate_limit: Rate | None = None
    #: requests in flight at once
    max_in_flight: InFlight | None = None
    #: fifo: one delivery per ordering key at a time, in order
    ordering: Ordering = "none"
    #: what a dead delivery does to those behind it in its ordering key
    on_exhausted: Literal["block", "skip"] = "block"
    #: failed attempts in a row that disable it; 0: never; null: as the profile says
    disable_after_failures: Failures | None = None
    #: days of only failures that disable it; 0: never; null: as the profile says
    disable_after_days: Days | None = None


class WebhookPatch(Input, frozen=True, kw_only=True):
    """Fields of an endpoint to change. null restores the default of the profile or the service."""

    url: Url | UnsetType = UNSET
    events: EventPatterns | UnsetType = UNSET
    #: true enables, false disables
    active: bool | UnsetType = UNSET
    signature: ProfileName | UnsetType | None = UNSET
    description: Description | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    headers: CustomHeaders | UnsetType = UNSET
    schedule: Schedule | UnsetType | None = UNSET
    timeout: Timeout | UnsetType | None = UNSET
    rate_limit: Rate | UnsetType | None = UNSET
    max_in_flight: InFlight | UnsetType | None = UNSET
    ordering: Ordering | UnsetType = UNSET
    on_exhausted: Literal["block", "skip"] | UnsetType = UNSET
    disable_after_failures: Failures | UnsetType | None = UNSET
    disable_after_days: Days | UnsetType | None = UNSET


class SecretInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A signing secret without its value."""

    created_at: str
    #: it signs until then; null: until it is rotated
    expires_at: str | None
    #: whether it signs now
    active: bool


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


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint."""

    id: str
    url: str
    events: list[str]
    profile: str
    status: EndpointStatus
    #: why it is paused or disabled
    status_reason: str | None
    mode: Mode
    signature: str | None
    description: str
    metadata: dict[str, str]
    headers: dict[str, str]
    schedule: list[float]
    timeout: float
    rate_limit: float | None
    max_in_flight: int | None
    ordering: Ordering
    on_exhausted: Literal["block", "skip"]
    #: failed attempts in a row that disable it; null: none do
    disable_after_failures: int | None
    #: days of only failures that disable it; null: none do
    disable_after_days: float | None
    #: since when every attempt has failed; null: it works, or the trouble is too young to be told
    failing_since: str | None
    #: from then on one more failure disables it; null: there is no such time
    disable_at: str | None
    circuit: CircuitOut
    #: newest first; empty: requests are not signed
    secrets: list[SecretInfo]
    recoverable: Recoverable | None
    #: counts the changes; also the ETag
    version: int
    created_at: str
    updated_at: str
    #: the signing secret; only in the answer to its creation or rotation
    secret: str | UnsetType = UNSET
    #: why a repeated request does not show the secret
    secret_hint: str | UnsetType = UNSET


class RotateIn(Input, frozen=True, kw_only=True):
    """Options for rotating the secret."""

    #: the new secret; one is made when it is left out
    secret: Secret | None = None
    #: seconds during which the earlier secret signs along: 0 to 7 days
    overlap: Annotated[int, Meta(ge=0, le=604_800)] = 86_400
    #: sign no more, where the profile allows it
    remove: bool = False


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
