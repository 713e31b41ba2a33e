"""Bodies of /v1/filters."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.contract.fields import Input


class FilterTestIn(Input, frozen=True, kw_only=True):
    """A filter, and an event to try it on."""

    #: conditions on an event's fields, as in an endpoint
    filter: dict[str, Any]
    #: an event, as a record of `events.raw` has it: `type`, `data` and, if the filter names them, further fields
    event: msgspec.Raw


class FailedConditionOut(msgspec.Struct, frozen=True, kw_only=True):
    """The first condition that the event does not meet."""

    #: JSON Pointer of the condition in the filter
    pointer: str
    #: one sentence with the field's name and the event's value
    explanation: str


class FilterTestOut(msgspec.Struct, frozen=True, kw_only=True):
    """The result of trying a filter."""

    #: whether an endpoint with this filter gets the event
    matches: bool
    #: null: it matches
    failed: FailedConditionOut | None
