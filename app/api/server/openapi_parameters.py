"""The query parameters in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from app.api.contract.events import EventOutcome
from app.api.server.routes import Route
from app.core.model.endpoint import ShownStatus
from app.core.readmodel.rows import DeliveryState
from app.profiles.catalog import PROFILES

Json = dict[str, Any]

_TEXT: Json = {"type": "string", "minLength": 1, "maxLength": 256}
_NUMBER: Json = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999_999}
#: the query parameters of operations: component → description and schema
PARAMETERS: Mapping[str, tuple[str, Json]] = {
    "limit": ("Number of entries per page.", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
    "cursor": ("The `next_cursor` of the previous page.", {"type": "string"}),
    "pull_cursor": ("Where to begin; default: where the receiver has committed.", {"type": "string", "maxLength": 64}),
    "wait": (
        "Seconds to wait for an event where there is none.",
        {"type": "integer", "minimum": 0, "maximum": 60, "default": 0},
    ),
    "format": ("`text`: each body as the text that was signed.", {"enum": ["json", "text"], "default": "json"}),
    "status": ("Only endpoints with this status.", {"enum": list(get_args(ShownStatus))}),
    "profile": ("Only event types of this product's catalogue.", {"enum": list(PROFILES)}),
    "endpoint": ("Only deliveries of this endpoint: its id or uid.", _TEXT),
    "event": ("Only deliveries of the event with this id.", _TEXT),
    "type": ("Only this event type, or all types with a prefix such as `recording.*`.", _TEXT),
    "types": (
        "Only these event types, comma-separated: exact, or prefixes such as `recording.*`. At most 50.",
        {"type": "string", "minLength": 1, "maxLength": 8_000},
    ),
    "state": (
        "Only deliveries in one of these states, comma-separated: " + ", ".join(get_args(DeliveryState)) + ".",
        _TEXT,
    ),
    "http_status": (
        "HTTP status of the last attempt, or its class: `503`, `5xx`.",
        {"type": "string", "pattern": "^[1-5](xx|[0-9]{2})$"},
    ),
    "result": ("Outcome of the last attempt: `timeout`, `refused`, `http_5xx` …", _TEXT),
    "since": ("Start of the time range: ISO 8601 with a time zone, or an age such as `2h`.", _TEXT),
    "until": ("End of the time range, exclusive, in the same form.", _TEXT),
    "replay": ("Only deliveries created by the replay with this id.", _TEXT),
    "id": ("Only the delivery with this id, or the deliveries of the event with this id.", _TEXT),
    "event_id": ("Only events with this id.", _TEXT),
    "tenant": ("Only events of this tenant. A tenant's key always reads its own tenant and mode.", _TEXT),
    "mode": ("Only events of this mode.", {"enum": ["live", "test"]}),
    "outcome": ("Only events with this outcome.", {"enum": list(get_args(EventOutcome))}),
    "unknown": (
        "`tenant`: only events of tenants that are not registered, or that name none in a readable way. `type`: only "
        "events of undeclared types.",
        {"enum": ["tenant", "type"]},
    ),
    "partition": ("The event's partition of `events.raw`; used with `offset`.", _NUMBER),
    "offset": ("The event's offset in that partition.", _NUMBER),
    "after": (
        "Continue a search that did not reach the end: the `PARTITION:OFFSET` from its response.",
        {"type": "string", "pattern": "^[0-9]{1,18}:[0-9]{1,18}$"},
    ),
}


def component(parameter: str, route: Route) -> str:
    """The name of a parameter's component; some parameters have a different meaning for other resources."""
    if parameter == "status" and "deliveries" in route.path:
        return "http_status"
    if parameter == "cursor" and route.may_stream:
        return "pull_cursor"
    return "event_id" if parameter == "id" and route.path == "/v1/events" else parameter


def parameter(name: str) -> Json:
    """The parameter object of a component."""
    description, schema = PARAMETERS[name]
    return {
        "name": {"http_status": "status", "event_id": "id", "pull_cursor": "cursor"}.get(name, name),
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }
