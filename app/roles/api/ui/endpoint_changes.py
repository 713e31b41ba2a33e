"""What the buttons and the settings of an endpoint do."""

from __future__ import annotations

from app.core.errors import CommandRefused
from app.roles.api import actions, webhooks
from app.roles.api.contract import RotateIn, Webhook, WebhookPatch
from app.roles.api.problems import ApiError, refused
from app.roles.api.ui import endpoint_form
from app.roles.api.ui.endpoints import page_of
from app.roles.api.ui.visit import Desk, Go, Result, Visit, body_of

_ACTIONS = {
    "pause": (actions.pause, "paused"), "resume": (actions.resume, "resumed"), "enable": (actions.enable, "enabled"),
    "disable": (actions.disable, "disabled"), "recover": (actions.recover, "recovering"),
}  # fmt: skip


async def settings(desk: Desk, visit: Visit) -> Result:
    """Change the endpoint, unless somebody has changed it meanwhile."""
    endpoint: Webhook = (await webhooks.get(desk.api, visit.call())).body
    try:
        body = body_of(WebhookPatch, endpoint_form.body(visit))
        await webhooks.patch(desk.api, visit.call(body))
    except ApiError as error:
        return await page_of(desk, visit, endpoint, error=error)
    except CommandRefused as refusal:
        return await page_of(desk, visit, endpoint, error=refused(refusal))
    return _back(visit, endpoint.id, "saved")


async def act(desk: Desk, visit: Visit) -> Result:
    """Pause, resume, enable, disable or recover."""
    action, done = _ACTIONS[visit.path["action"]]
    answer = await action(desk.api, visit.call())
    if visit.path["action"] == "recover":
        return Go(to=f"{visit.base}/replays/{answer.body.id}?done={done}")
    return _back(visit, visit.path["id"], done)


async def rotate(desk: Desk, visit: Visit) -> Result:
    """A new secret, on the page that comes back and on no other; the earlier one signs along for a while."""
    overlap = visit.field("overlap")
    is_number = overlap.isascii() and overlap.isdigit() and len(overlap) < 10
    values = {"overlap": int(overlap) if is_number else overlap} if overlap else {}
    answer = await actions.rotate(desk.api, visit.call(body_of(RotateIn, values), key=visit.field("key")))
    return await page_of(desk, visit, answer.body, fresh="rotated")


async def delete(desk: Desk, visit: Visit) -> Result:
    """Remove it, after its id was typed or the question was answered."""
    await webhooks.delete(desk.api, visit.call())
    return Go(to=f"{visit.base}/endpoints?done=deleted")


def _back(visit: Visit, id_: str, done: str) -> Go:
    return Go(to=f"{visit.base}/endpoints/{id_}?done={done}")
