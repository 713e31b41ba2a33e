"""Bodies of /v1/webhooks/{id}/preview."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.contract.fields import Input, TypeName
from app.api.contract.webhooks import TestRequest
from app.core import limits
from app.core.model.endpoint_settings import Envelope


class PreviewIn(Input, frozen=True, kw_only=True):
    """The event to show, and settings to try in place of the endpoint's own."""

    #: an event, as a record of `events.raw` has it: `type`, `data` and further fields; excludes `event_id`
    event: msgspec.Raw | UnsetType = UNSET
    #: the id of an event that Kafka still has
    event_id: Annotated[str, Meta(max_length=limits.EVENT_ID)] | None = None
    #: without `event` and `event_id`: the newest event of this type, or else the type's example; default: any type that
    #: the endpoint subscribes to
    type: TypeName | None = None
    #: in place of the endpoint's
    envelope: Envelope | UnsetType = UNSET
    #: in place of the endpoint's
    include_fields: (
        Annotated[
            tuple[Annotated[str, Meta(max_length=limits.INCLUDED_PATH)], ...],
            Meta(max_length=limits.INCLUDED),
        ]
        | UnsetType
        | None
    ) = UNSET
    #: in place of the endpoint's
    transform: Annotated[str, Meta(max_length=limits.TRANSFORM)] | UnsetType | None = UNSET


class PreviewError(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing would be sent."""

    #: the reason with which the delivery would end as dead: transform_failed or unrepresentable
    reason: str
    detail: str


class PreviewOut(msgspec.Struct, frozen=True, kw_only=True):
    """The request that would be sent now for an event."""

    event_id: str
    event_type: str
    #: where the event comes from: given in the body, stored in Kafka, or the example of the event type
    origin: Literal["given", "stored", "example"]
    #: null: nothing would be sent
    request: TestRequest | None
    error: PreviewError | None
