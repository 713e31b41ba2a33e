"""Send a test event from an endpoint's page, and show what the receiver did."""

from __future__ import annotations

import msgspec

from app.roles.api import actions, webhooks
from app.roles.api.contract import FieldError, TestIn
from app.roles.api.problems import invalid
from app.roles.api.ui.rendering import pretty
from app.roles.api.ui.visit import Desk, Page, Result, Visit


async def send(desk: Desk, visit: Visit) -> Result:
    """Its answer is a part of the page."""
    data = visit.field("data")
    if data:
        try:
            msgspec.json.decode(data)
        except ValueError as error:
            raise invalid(FieldError(detail=f"the payload is not JSON: {error}", pointer="/data")) from error
    body = TestIn(type=visit.field("type") or None, data=msgspec.Raw(data.encode()) if data else msgspec.UNSET)
    answer = await actions.test(desk.api, visit.call(body))
    template = "test_result.html" if visit.partial else "test_page.html"
    return Page(template=template, values={"result": answer.body, "id": visit.path["id"]})


async def example(desk: Desk, visit: Visit) -> Result:
    """The payload to begin with, for the type that was picked."""
    endpoint = webhooks.owned(desk.api, visit.call())
    entry = desk.api.catalogue.get(endpoint.profile, {}).get(visit.query.get("type", ""))
    text = pretty(entry.examples[0]) if entry is not None else '{\n  "test": true\n}'
    return Page(template="payload_field.html", values={"text": text})
