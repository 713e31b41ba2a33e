"""Bodies of /v1/events and /v1/event-types."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.api.contract.fields import Description, Input, Key, Subject, TypeName
from app.core import limits
from app.core.match_reason import MatchReason
from app.core.model.channels import CHANNEL_PATTERN
from app.core.model.event import Mode
from app.core.readmodel.rows import DeliveryState
from app.core.schemas.openapi_webhooks import WebhookBody


class EventIn(Input, frozen=True, kw_only=True):
    """An event."""

    type: TypeName
    data: msgspec.Raw
    id: Annotated[str, Meta(max_length=limits.EVENT_ID)] | None = None
    #: ISO 8601 with date, time and zone
    created_at: Annotated[str, Meta(max_length=limits.TIME)] | None = None
    idempotency_key: Key | None = None
    ordering_key: Key | None = None
    metadata: dict[str, Any] | None = None
    #: endpoints with channels receive the event if it carries one of theirs
    channels: (
        Annotated[
            list[Annotated[str, Meta(max_length=limits.CHANNEL, pattern=CHANNEL_PATTERN)]],
            Meta(max_length=limits.CHANNELS),
        ]
        | None
    ) = None
    #: the person whom the data is about; see POST /v1/erasures
    subject: Subject | None = None
    #: ISO 8601: no attempt before it; at most 7 days ahead
    deliver_at: Annotated[str, Meta(max_length=limits.TIME)] | None = None
    #: ISO 8601: no attempt from then on; after `deliver_at`
    expires_at: Annotated[str, Meta(max_length=limits.TIME)] | None = None


class EventAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The event was appended to `events.raw`."""

    id: str


class EventsAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The events were appended to `events.raw`, in this order."""

    data: list[EventAccepted]


class DuplicateOf(msgspec.Struct, frozen=True, kw_only=True):
    """The record with the same idempotency key that was accepted first."""

    partition: int
    offset: int
    accepted_at: str | None


#: matched: it has deliveries; pending: an endpoint waits for its delivery; unmatched: no endpoint receives it;
#: rejected: it is no valid event; duplicate: its idempotency key had been accepted before
EventOutcome = Literal["matched", "pending", "unmatched", "rejected", "duplicate"]


class EventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A record of `events.raw` and its outcome."""

    #: null: it has none that can be read
    id: str | None
    type: str | None
    #: null: the record does not name a tenant and mode in a readable way; only the operator sees it
    tenant: str | None
    mode: Mode | None
    #: the record's timestamp
    accepted_at: str
    outcome: EventOutcome
    #: why it was rejected: a code such as `bad_type`, and one sentence
    reason: str | None
    detail: str | None
    #: the record that was accepted in its place
    duplicate_of: DuplicateOf | None
    ordering_key: str | None
    #: coordinates in `events.raw`
    partition: int
    offset: int
    #: false: no such tenant is registered or has endpoints
    tenant_known: bool
    #: false: the type is in no catalogue and is not one of the tenant's own
    type_known: bool


class EventEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Why one endpoint received an event or did not."""

    endpoint: str
    #: null: the endpoint is removed
    url: str | None
    #: judged by the endpoint's current settings
    why: MatchReason
    explanation: str
    #: its delivery; null: there is none
    delivery: str | None
    state: DeliveryState | None
    #: the replay that created the delivery
    replay: str | None


class EventOut(msgspec.Struct, frozen=True, kw_only=True):
    """An event, and its outcome for each endpoint."""

    id: str
    #: null: the record has none that can be read
    type: str | None
    tenant: str | None
    mode: Mode | None
    #: null: the index does not have the event yet
    outcome: EventOutcome | None
    #: why it was rejected: a code such as `bad_type`, and one sentence
    reason: str | None
    detail: str | None
    #: set by the producer, while Kafka keeps the event
    created_at: str | None
    #: the record's timestamp
    accepted_at: str | None
    ordering_key: str | None
    #: the channels that it carries; null: Kafka no longer has it
    channels: list[str] | None
    #: no attempt before and after these times; null: there is no such time, or Kafka no longer has the event
    deliver_at: str | None
    expires_at: str | None
    #: coordinates in `events.raw`; null: unknown
    partition: int | None
    offset: int | None
    #: its data, while Kafka keeps the event
    data: Any
    #: why there is no data
    data_note: str | None
    #: the record that was accepted in its place; null: it is not a duplicate, or that has not been recorded yet
    duplicate_of: DuplicateOf | None
    #: every endpoint of the tenant and mode, and deleted ones that have a delivery
    endpoints: list[EventEndpoint]


class EventTypeIn(Input, frozen=True, kw_only=True):
    """An event type of a tenant, or of the installation's catalogue."""

    description: Description = ""
    #: JSON Schema 2020-12 of `data`
    schema: dict[str, Any] | None = None
    #: `data` of an example event
    example: Any = None
    #: what happens to events that violate the schema. off: no check; warn: counted and delivered; reject: rejected
    mode: Literal["off", "warn", "reject"] = "off"


class EventTypesImportIn(Input, frozen=True, kw_only=True):
    """An OpenAPI 3.1 document whose `webhooks` become event types."""

    document: dict[str, Any]
    #: what the schema of a webhook's body describes. data: the event's `data`; envelope: the whole body, whose property
    #: `data` is the event's
    body: WebhookBody = "data"
    #: what happens to events that violate a schema; null: as before, and off for new types
    mode: Literal["off", "warn", "reject"] | None = None
    #: only say what would change
    dry_run: bool = False


class StreamedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a stream: the data of a frame whose event is `event`."""

    id: str
    type: str
    created_at: str
    #: when its record was appended to `events.raw`
    appended_at: str
    ordering_key: str | None
    #: W3C trace context, if the producer set it
    traceparent: str | None
    #: the place of its record in `events.raw`
    partition: int
    offset: int
    data: msgspec.Raw


class SchemaDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the declaration of a type changes."""

    #: JSON Pointer into the declaration, such as `/schema/properties/id/type`
    pointer: str
    change: Literal["added", "removed", "changed"]


class EventTypeChange(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an import for one webhook of the document."""

    name: str
    action: Literal["add", "change", "unchanged", "skip"]
    #: why it is skipped
    reason: str | None = None
    #: of a changed type: at most 20 differences
    differences: list[SchemaDifference] = []
    #: the number of further differences
    more_differences: int = 0


class EventTypesImported(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of an import, made or planned."""

    dry_run: bool
    added: int
    changed: int
    unchanged: int
    skipped: int
    #: in the order of the document
    event_types: list[EventTypeChange]


class EventTypeOut(msgspec.Struct, frozen=True, kw_only=True):
    """An event type that the tenant's events may have."""

    name: str
    #: where it is declared: by the tenant, in the installation's catalogue, or in the catalogue of a product
    source: Literal["tenant", "installation", "product"]
    #: the product whose catalogue has it; null: declared by the tenant or the installation
    profile: str | None
    description: str
    schema: Any
    example: Any
    mode: Literal["off", "warn", "reject"]
    version: int
