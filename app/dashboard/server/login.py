"""Sign in with the operator's token or a tenant's key, and out again."""

from __future__ import annotations

import re
from urllib.parse import unquote

from app.api.grants import Grant
from app.api.problems import ApiError
from app.dashboard.request import PageContext, PageRequest, PageResult, Redirect, TemplatePage

COOKIE = "hookstream_session"
#: a stranger's form is ours when it has what this cookie says
_KNOCK = "hookstream_sign_in"
SESSION_S = 12 * 3600
_is_local = re.compile(r"/ui(/[A-Za-z0-9_.~%/-]*)?(\?[A-Za-z0-9_.~%&=+:*,/-]*)?").fullmatch


def is_page_of_ours(place: str) -> bool:
    """Whether a path is below /ui, however often a proxy decodes it."""
    if not _is_local(place):
        return False
    path = place.partition("?")[0]
    while (plain := unquote(path)) != path:
        path = plain
    segments = path.split("/")[1:]
    return segments[0] == "ui" and not {"", ".", ".."} & set(segments[1:]) and "\\" not in path and path.isprintable()


async def home(desk: PageContext, visit: PageRequest) -> PageResult:
    """A redirect to the viewer's first page, or to the sign-in."""
    return Redirect(to=_first(visit.grant) if visit.grant is not None else "/ui/sign-in")


async def ask(desk: PageContext, visit: PageRequest) -> PageResult:
    """The form for a token or key."""
    return _form(desk, visit)


async def enter(desk: PageContext, visit: PageRequest) -> PageResult:
    """Begin a session, if the token or key is valid."""
    knock = visit.cookies.get(_KNOCK, "")
    now_s, now_ms = desk.api.clock.monotonic(), desk.api.clock.now_ms()
    if not knock or not desk.api.tokens.proves("sign-in", knock, visit.field("knock")):
        return _form(desk, visit, "The form was too old: please try again.", 403)
    if not desk.login_throttle.may_try(visit.address, now_s):
        return _form(desk, visit, "Too many failed attempts from your address: wait a minute.", 429)
    try:
        caller = desk.gate.caller(f"Bearer {visit.field('token')}", now_ms)
    except ApiError:
        desk.login_throttle.failed(visit.address, now_s)
        return _form(desk, visit, "That is no token or key of this service, or it has expired.", 401)
    if not caller.operator and "read" not in caller.scopes:
        return _form(desk, visit, "This key may not read: use one with the scope read.", 403)
    grant = Grant(
        kind="operator" if caller.operator else "key",
        id=desk.api.minter.id("ses"),
        expires_at_ms=now_ms + SESSION_S * 1000,
        tenant=caller.tenant,
        mode=caller.mode,
        scopes=caller.scopes,
        key_id="" if caller.operator else caller.id,
    )
    wanted = visit.field("next")
    place = wanted if is_page_of_ours(wanted) else _first(grant)
    return Redirect(to=place, cookies={COOKIE: desk.api.tokens.sign(grant), _KNOCK: ""})


async def leave(desk: PageContext, visit: PageRequest) -> PageResult:
    """End the session: at once in this process, and by removing its cookie."""
    if visit.grant is not None:
        desk.login_throttle.end(visit.grant.id)
    return Redirect(to="/ui/sign-in", cookies={COOKIE: ""})


def _form(desk: PageContext, visit: PageRequest, error: str = "", status: int = 200) -> TemplatePage:
    knock = desk.api.minter.id("knock")
    values = {
        "error": error,
        "next": visit.query.get("next") or visit.field("next"),
        "knock": desk.api.tokens.proof("sign-in", knock),
        "has_operator": desk.gate.has_operator,
    }
    return TemplatePage(template="sign_in.html", status=status, values=values, cookies={_KNOCK: knock})


def _first(grant: Grant) -> str:
    return "/ui/overview" if grant.kind == "operator" else f"/ui/t/{grant.tenant}/{grant.mode}/overview"
