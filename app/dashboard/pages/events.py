"""A form that appends an event."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.contract.events import EventIn
from app.api.handlers import audit, event_types, events
from app.api.problems import ApiError
from app.dashboard.json_fields import read_json
from app.dashboard.pages import endpoint_form
from app.dashboard.pages.type_picker import offered_types
from app.dashboard.request import PageContext, PageRequest, PageResult, Redirect, TemplatePage, body_of


async def blank(desk: PageContext, visit: PageRequest) -> PageResult:
    """The form for an event, with an example where the type has one."""
    wanted = visit.query.get("type", "")
    example = getattr(event_types.visible(desk.api, visit.caller).get(wanted), "example", None)
    text = msgspec.json.format(msgspec.json.encode(example), indent=2).decode() if example is not None else "{}"
    return await _form(
        desk, visit, {"type": wanted, "data": text, "ordering_key": "", "key": desk.api.minter.id("form")}
    )


async def append(desk: PageContext, visit: PageRequest) -> PageResult:
    """Append the event, as the API does."""
    form = {name: visit.field(name) for name in ("type", "data", "ordering_key", "key")}
    try:
        read_json("data", form["data"], "payload")
        data = msgspec.Raw(form["data"].encode())
        body = body_of(EventIn, {"type": form["type"], "data": data, "ordering_key": form["ordering_key"] or None})
        if not visit.caller.actor:  # events.create takes a key for a service: here a person has it
            await audit.record(desk.api, visit.caller, "event.send", f"event/{form['type']}")
        answer = await events.create(desk.api, visit.call(body, key=form["key"]))
    except ApiError as error:
        return await _form(desk, visit, form, error)
    return Redirect(to=f"{visit.base}/deliveries?event={answer.body.id}&done=sent")


async def _form(
    desk: PageContext, visit: PageRequest, form: dict[str, str], error: ApiError | None = None
) -> TemplatePage:
    types = await offered_types(desk, visit, event_types.visible(desk.api, visit.caller))
    values: dict[str, Any] = {"form": form, "types": types}
    if error is not None:
        values["errors"] = endpoint_form.errors(error)
    return TemplatePage(template="event_new.html", values=values, status=error.status if error is not None else 200)
