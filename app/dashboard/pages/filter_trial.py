"""A filter is tried on the tenant's recent events before an endpoint gets it. Nothing is stored or sent."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from app.api.contract.events import EventSummary
from app.api.contract.fields import FieldError
from app.api.handlers import event_listing, webhooks
from app.api.handlers.event_payloads import HIDDEN_VALUES, events_at, hidden_fields
from app.api.handlers.filters import check_filter
from app.api.problems import ApiError, invalid
from app.core.errors import Unavailable
from app.core.filters.verdicts import CompiledFilters, EventVerdicts
from app.core.records.raw_event import fields_of
from app.dashboard.json_fields import read_json
from app.dashboard.pages import endpoint_form
from app.dashboard.rendering import pretty
from app.dashboard.request import PageContext, PageRequest, PageResult, TemplatePage

#: recent events that a filter is tried on
_EVENTS = "25"


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter decides about one event."""

    event: EventSummary
    #: None: Kafka no longer has the event, or it is no valid one
    matches: bool | None
    #: JSON Pointer of the first condition that the event does not meet, and why it does not
    pointer: str = ""
    explanation: str = ""


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """The form: empty, or with the filter of the endpoint that the query names."""
    text = ""
    if visit.query.get("endpoint"):
        endpoint = webhooks.owned(desk.api, visit.call(id=visit.query["endpoint"]))
        text = pretty(endpoint.filter) if endpoint.filter is not None else ""
    return _page(visit, text)


async def judge(desk: PageContext, visit: PageRequest) -> PageResult:
    """What the submitted filter decides about each of the last events."""
    text = visit.field("filter")
    try:
        rows = await _rows(desk, visit, _read(text))
    except ApiError as error:
        return _page(visit, text, errors=endpoint_form.errors(error), status=error.status)
    except Unavailable:
        return _page(visit, text, has_reads=False)
    return _page(visit, text, rows=rows)


def _read(text: str) -> dict[str, Any]:
    conditions = read_json("filter", text, "filter")
    if not isinstance(conditions, dict):
        raise invalid(FieldError(detail="a filter is a JSON object", pointer="/filter"))
    check_filter(conditions)
    return conditions


async def _rows(desk: PageContext, visit: PageRequest, conditions: dict[str, Any]) -> list[TrialRow]:
    query = {"limit": _EVENTS}
    page = await event_listing.page(desk.api, msgspec.structs.replace(visit.call(), query=query))
    stored = await events_at(desk.api, [(each.partition, each.offset) for each in page.data])
    filters, rows = CompiledFilters(), []
    is_redacted = bool(hidden_fields(desk.api, visit.caller.tenant))
    for each in page.data:
        read = stored.get((each.partition, each.offset))
        if read is None or (read[0].tenant, read[0].mode) != (visit.caller.tenant, visit.caller.mode):
            rows.append(TrialRow(event=each, matches=None))
            continue
        failed = EventVerdicts(filters, partial(fields_of, read[0])).failure(conditions)
        if failed is None:
            rows.append(TrialRow(event=each, matches=True))
        else:
            explanation = HIDDEN_VALUES if is_redacted else failed.explanation
            rows.append(TrialRow(event=each, matches=False, pointer=failed.pointer, explanation=explanation))
        await asyncio.sleep(0)  # events may be large
    return rows


def _page(
    visit: PageRequest,
    text: str,
    *,
    rows: list[TrialRow] | None = None,
    errors: dict[str, str] | None = None,
    has_reads: bool = True,
    status: int = 200,
) -> PageResult:
    values = {"text": text, "rows": rows, "errors": errors or {}, "has_reads": has_reads}
    return TemplatePage(
        template="filter_trial_result.html" if visit.partial else "filter_trial.html", values=values, status=status
    )
