"""What a receiver gets of an event: which data, and around it which envelope.

The data is the event's own, or what `include_fields` leaves of it, or what `transform` makes of it, in this order. The
envelope is written around it; the signature covers the body that results.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never
from urllib.parse import quote

import msgspec

from app.core.errors import MalformedEvent, TransformFailed
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.endpoint_settings import Envelope
from app.core.records.raw_event import data_of, delivery_fields
from app.core.transforms.expressions import transformed
from app.core.transforms.included_fields import included
from app.profiles import cloud_events
from app.profiles.contract import EventView, HeaderPairs, Profile
from app.profiles.ecmascript_json import quote as json_text

JSON_TYPE = "application/json"


class Content(NamedTuple):
    """A request's body, its type, and the headers that belong to it."""

    body: bytes
    content_type: str
    headers: HeaderPairs = ()


class DeliveryShape(msgspec.Struct, frozen=True, kw_only=True):
    """How the content of an endpoint differs from what its profile writes around an event's own data."""

    profile: Profile
    envelope: Envelope
    include_fields: tuple[str, ...] | None
    transform: str | None

    def content(self, delivery: Delivery) -> Content:
        """The content for a delivery; raises `TransformFailed`, `Unrepresentable` or `MalformedEvent`."""
        if self.envelope == "thin":
            return Content(_thin(delivery), JSON_TYPE)
        data = self._data(delivery)
        is_original = self.include_fields is None and self.transform is None
        match self.envelope:
            case "profile":
                return Content(self.profile.envelope(event_view(delivery, data)), JSON_TYPE)
            case "raw":
                named = ("webhook-event-type", delivery.event_type), ("webhook-event-time", delivery.created_at)
                return Content(data, JSON_TYPE, named)
            case "cloudevents-structured":
                body = cloud_events.structured(delivery, data, is_original=is_original)
                return Content(body, cloud_events.STRUCTURED_TYPE)
            case "cloudevents-binary":
                return Content(data, *cloud_events.binary(delivery, is_original=is_original))
            case _ as never:
                assert_never(never)

    def _data(self, delivery: Delivery) -> bytes:
        data = data_of(delivery.body, delivery.format)
        if self.include_fields is not None:
            data = included(data, self.include_fields)
        if self.transform is None:
            return data
        try:
            fields = delivery_fields(delivery)
            if self.include_fields is not None:
                fields["data"] = msgspec.json.decode(data)
        except (MalformedEvent, ValueError, RecursionError) as error:
            raise TransformFailed("the event's data has numbers or levels beyond what can be read") from error
        return transformed(self.transform, fields)


def shape_of(endpoint: Endpoint, profile: Profile) -> DeliveryShape | None:
    """The endpoint's shape; None: it is the profile's."""
    if endpoint.envelope == "profile" and endpoint.transform is None and endpoint.include_fields is None:
        return None
    return DeliveryShape(
        profile=profile,
        envelope=endpoint.envelope,
        include_fields=endpoint.include_fields,
        transform=endpoint.transform,
    )


def event_view(delivery: Delivery, data: bytes) -> EventView:
    """A delivery's event for an envelope, with this data."""
    return EventView(
        id=delivery.event_id,
        type=delivery.event_type,
        created_at=delivery.created_at,
        data=data,
    )


def _thin(delivery: Delivery) -> bytes:
    """Id, type and time of the event, and where the API has the rest."""
    url = f"/v1/events/{quote(delivery.event_id, safe='')}"
    if delivery.source is not None:
        partition, _, offset = delivery.source.partition(":")
        url += f"?partition={partition}&offset={offset}"
    return b'{"id":%b,"type":%b,"timestamp":%b,"url":%b}' % (
        json_text(delivery.event_id),
        json_text(delivery.event_type),
        json_text(delivery.created_at),
        json_text(url),
    )
