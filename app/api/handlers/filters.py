"""Filters: check one, and try it on an event."""

from __future__ import annotations

from typing import Any

from app.api.contract.fields import FieldError
from app.api.contract.filters import FailedConditionOut, FilterTestIn, FilterTestOut
from app.api.problems import ApiError, invalid
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import MalformedEvent
from app.core.filters.parsing import parse
from app.core.filters.verdicts import CompiledFilters, EventVerdicts
from app.core.records.raw_event import Coordinates, decode_event, fields_of


async def test(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Whether an event meets a filter, and the first condition that it does not meet. Nothing is stored or sent."""
    body: FilterTestIn = call.body
    check_filter(body.filter)
    fields = _fields(api, call, body)
    failed = EventVerdicts(CompiledFilters(), lambda: fields).failure(body.filter)
    shown = FailedConditionOut(pointer=failed.pointer, explanation=failed.explanation) if failed is not None else None
    return ApiResponse(body=FilterTestOut(matches=shown is None, failed=shown))


def check_filter(filter_: dict[str, Any]) -> None:
    """Raise `ApiError` 422 with every problem of a filter."""
    problems = parse(filter_).problems
    if problems:
        raise invalid(*(FieldError(detail=each.sentence, pointer=f"/filter{each.pointer}") for each in problems))


def _fields(api: ApiServices, call: ApiRequest, body: FilterTestIn) -> dict[str, Any]:
    """The fields of the event as fan-out would decode it from a record of events.raw."""
    headers = [("tenant", call.caller.tenant.encode()), ("mode", call.caller.mode.encode())]
    at = Coordinates("api", 0, 0, api.clock.now_ms())
    try:
        return fields_of(decode_event(bytes(body.event), headers, at, max_bytes=api.max_event_bytes))
    except MalformedEvent as error:
        if error.reason == "too_large":
            raise ApiError(413, "too_large", error.detail) from error
        raise invalid(FieldError(detail=error.detail, pointer="/event")) from error
