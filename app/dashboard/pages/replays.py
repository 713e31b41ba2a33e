"""Replays: estimate, start, watch and stop them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.api.contract.replays import ReplayIn, ReplayOut
from app.api.handlers import event_types, replays
from app.api.handlers.delivery_filters import endpoint_id_of
from app.api.problems import ApiError, refused
from app.core.errors import CommandRefused
from app.core.model.endpoint_kind import title_of
from app.dashboard.live_subscriptions import stream
from app.dashboard.pages import endpoint_form
from app.dashboard.pages.type_picker import offered_types
from app.dashboard.request import EventStream, PageContext, PageRequest, PageResult, Redirect, TemplatePage, body_of

_EVERY_S = 0.5
_FIELDS = ("from", "to", "endpoint", "only", "types", "rate", "key")


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """All replays of the tenant and mode, the latest first."""
    return TemplatePage(template="replays.html", values={"replays": _mine(desk, visit)})


async def show(desk: PageContext, visit: PageRequest) -> PageResult:
    """One replay, with live progress while it runs."""
    replay = (await replays.get(desk.api, visit.call())).body
    return TemplatePage(template="replay_card.html" if visit.partial else "replay.html", values={"replay": replay})


async def blank(desk: PageContext, visit: PageRequest) -> PageResult:
    """The form for a new replay."""
    form = {
        "from": visit.query.get("from", "24h"),
        "to": "now",
        "endpoint": endpoint_id_of(desk.api, visit.call(), visit.query.get("endpoint", "")) or "",
        "only": visit.query.get("only", "failed"),
        "types": "",
        "rate": "",
        "key": desk.api.minter.id("form"),
    }
    return await _form(desk, visit, form)


async def create(desk: PageContext, visit: PageRequest) -> PageResult:
    """Count (`dry_run`), or start the replay."""
    form = {name: visit.field(name) for name in _FIELDS}
    trial = visit.field("step") != "begin"
    try:
        values: dict[str, Any] = {
            "from": form["from"],
            "to": form["to"] or "now",
            "endpoint": form["endpoint"] or None,
            "only": form["only"] or "all",
            "types": form["types"].replace(",", " ").split(),
            "dry_run": trial,
            "rate": endpoint_form.number("rate", form["rate"]),
        }
        call = visit.call(body_of(ReplayIn, values), key=None if trial else form["key"])
        answer = await replays.create(desk.api, call)
    except ApiError as error:
        return await _form(desk, visit, form, error=error)
    except CommandRefused as refusal:
        return await _form(desk, visit, form, error=refused(refusal))
    if trial:
        return await _form(desk, visit, form, counted=answer.body)
    return Redirect(to=f"{visit.base}/replays/{answer.body.id}?done=replaying")


async def act(desk: PageContext, visit: PageRequest) -> PageResult:
    """Pause, resume or cancel."""
    action = {"pause": replays.pause, "resume": replays.resume, "cancel": replays.cancel}[visit.path["action"]]
    await action(desk.api, visit.call())
    return Redirect(to=f"{visit.base}/replays/{visit.path['id']}")


async def live(desk: PageContext, visit: PageRequest) -> PageResult:
    """An event for each replay of the tenant and mode whose progress has changed."""
    last: dict[str | None, ReplayOut] = {}

    async def sample() -> Sequence[tuple[str, str]]:
        nonlocal last
        now = {each.id: each for each in _mine(desk, visit)}
        moved = [each for id_, each in now.items() if last and last.get(id_) != each]
        last = now
        return [(f"replay-{each.id}", desk.render("replay_progress.html", replay=each)) for each in moved]

    return EventStream(frames=stream(desk, visit, "replays", sample, every_s=_EVERY_S))


def _mine(desk: PageContext, visit: PageRequest) -> list[ReplayOut]:
    mine = (visit.caller.tenant, visit.caller.mode)
    own = [each for each in desk.api.feed.directory.replays.values() if (each.tenant, each.mode) == mine]
    return [replays.present_replay(each) for each in sorted(own, key=lambda each: each.created_at_ms, reverse=True)]


async def _form(
    desk: PageContext,
    visit: PageRequest,
    form: dict[str, str],
    *,
    counted: ReplayOut | None = None,
    error: ApiError | None = None,
) -> TemplatePage:
    endpoints = desk.api.feed.directory.endpoints(visit.caller.tenant, visit.caller.mode)
    values: dict[str, Any] = {
        "form": form,
        "endpoints": endpoints,
        "counted": counted,
        "types": await offered_types(desk, visit, event_types.visible(desk.api, visit.caller)),
        "names": {each.id: title_of(each) for each in endpoints},
    }
    if error is not None:
        values["errors"] = endpoint_form.errors(error)
    return TemplatePage(template="replay_new.html", values=values, status=error.status if error is not None else 200)
