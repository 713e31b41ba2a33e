"""The actions of the buttons and forms on an endpoint's page."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.contract.previews import PreviewIn
from app.api.contract.webhooks import RotateIn, RotateKeyIn, TestIn, Webhook, WebhookPatch
from app.api.handlers import event_types, previews, webhook_actions, webhooks
from app.api.problems import ApiError, refused
from app.core.errors import CommandRefused
from app.dashboard.json_fields import read_json
from app.dashboard.pages import endpoint_form
from app.dashboard.pages.endpoints import page_of
from app.dashboard.rendering import pretty
from app.dashboard.request import PageContext, PageRequest, PageResult, Redirect, TemplatePage, body_of

_ACTIONS = {
    "pause": (webhook_actions.pause, "paused"),
    "resume": (webhook_actions.resume, "resumed"),
    "enable": (webhook_actions.enable, "enabled"),
    "disable": (webhook_actions.disable, "disabled"),
    "recover": (webhook_actions.recover, "recovering"),
    "ask": (webhook_actions.verify, "verified"),
}


async def settings(desk: PageContext, visit: PageRequest) -> PageResult:
    """Change the endpoint, unless it has changed since the form was loaded."""
    endpoint: Webhook = (await webhooks.get(desk.api, visit.call())).body
    try:
        body = body_of(WebhookPatch, endpoint_form.body(visit))
        await webhooks.patch(desk.api, visit.call(body))
    except ApiError as error:
        return await page_of(desk, visit, endpoint, error=error)
    except CommandRefused as refusal:
        return await page_of(desk, visit, endpoint, error=refused(refusal))
    return _back(visit, endpoint.id, "saved")


async def act(desk: PageContext, visit: PageRequest) -> PageResult:
    """Pause, resume, enable, disable, recover, or ask the receiver for its agreement."""
    action, done = _ACTIONS[visit.path["action"]]
    answer = await action(desk.api, visit.call())
    if visit.path["action"] == "recover":
        return Redirect(to=f"{visit.base}/replays/{answer.body.id}?done={done}")
    if visit.path["action"] == "ask" and not answer.body.agreed:
        return Redirect(to=f"{visit.base}/endpoints/{visit.path['id']}")  # which shows the latest handshake
    return _back(visit, visit.path["id"], done)


async def rotate(desk: PageContext, visit: PageRequest) -> PageResult:
    """Rotate the secret. The next page shows the new one once; the previous one also signs for a while."""
    body = body_of(RotateIn, _overlap(visit))
    answer = await webhook_actions.rotate(desk.api, visit.call(body, key=visit.field("key")))
    return await page_of(desk, visit, answer.body, fresh="rotated")


async def rotate_key(desk: PageContext, visit: PageRequest) -> PageResult:
    """Rotate the signing key; its public half is on the page at any time."""
    body = body_of(RotateKeyIn, _overlap(visit))
    await webhook_actions.rotate_key(desk.api, visit.call(body, key=visit.field("key")))
    return _back(visit, visit.path["id"], "key_rotated")


def _overlap(visit: PageRequest) -> dict[str, int | str]:
    overlap = visit.field("overlap")
    is_number = overlap.isascii() and overlap.isdigit() and len(overlap) < 10
    return {"overlap": int(overlap) if is_number else overlap} if overlap else {}


async def delete(desk: PageContext, visit: PageRequest) -> PageResult:
    """Remove the endpoint, after the user has confirmed it."""
    await webhooks.delete(desk.api, visit.call())
    return Redirect(to=f"{visit.base}/endpoints?done=deleted")


def _back(visit: PageRequest, id_: str, done: str) -> Redirect:
    return Redirect(to=f"{visit.base}/endpoints/{id_}?done={done}")


async def send(desk: PageContext, visit: PageRequest) -> PageResult:
    """Send a test event. The response is a part of the page."""
    data = visit.field("data")
    if data:
        read_json("data", data, "payload")
    body = TestIn(type=visit.field("type") or None, data=msgspec.Raw(data.encode()) if data else msgspec.UNSET)
    answer = await webhook_actions.test(desk.api, visit.call(body))
    template = "test_result.html" if visit.partial else "test_page.html"
    return TemplatePage(template=template, values={"result": answer.body, "id": visit.path["id"]})


async def preview(desk: PageContext, visit: PageRequest) -> PageResult:
    """Show what would be sent, a part of the page: for the payload or else for the newest event of the type.

    From the form of the settings, with these settings.
    """
    data, event_type = visit.field("data"), visit.field("type")
    values: dict[str, Any] = endpoint_form.tried(visit)
    if data:
        read_json("data", data, "payload")
        named = msgspec.json.encode(event_type or "test.event")
        values["event"] = msgspec.Raw(b'{"type":%b,"data":%b}' % (named, data.encode()))
    elif event_type:
        values["type"] = event_type
    answer = await previews.show(desk.api, visit.call(body_of(PreviewIn, values)))
    template = "preview_result.html" if visit.partial else "preview_page.html"
    return TemplatePage(template=template, values={"result": answer.body, "id": visit.path["id"]})


async def example(desk: PageContext, visit: PageRequest) -> PageResult:
    """The example payload of the selected type."""
    endpoint = webhooks.owned(desk.api, visit.call())
    declared = event_types.visible(desk.api, visit.caller, endpoint.profile).get(visit.query.get("type", ""))
    example = declared.example if declared is not None else None
    text = pretty(example) if example is not None else '{\n  "test": true\n}'
    return TemplatePage(template="payload_field.html", values={"text": text})
