"""Serve the pages: who comes, may it, is the form ours, show; every answer has the headers that protect it.

visit ─▶ session? ─▶ its tenant? ─▶ may it? ─▶ too often? ─▶ form from our page? ─▶ screen ─▶ page, redirect or stream
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from urllib.parse import quote

import msgspec
from aiohttp import web

from app.api.problems import ApiError, refused
from app.api.reading import read_body, read_form, size_of
from app.api.request import Caller
from app.api.server.authentication import is_name
from app.api.server.server import Server
from app.core.errors import CommandRefused, Unavailable
from app.core.model.event import Mode
from app.dashboard.live import Subscription, TooManyStreams
from app.dashboard.live_subscriptions import allowed_caller
from app.dashboard.rendering import Renderer
from app.dashboard.request import (
    EventStream,
    PageContext,
    PageHandler,
    PageRequest,
    PageResult,
    Redirect,
    StaticFile,
    TemplatePage,
)
from app.dashboard.server.login import COOKIE
from app.dashboard.server.routes import SCREENS, PageRoute
from app.dashboard.server.security_headers import FramePolicy, headers_of

_DEADLINE_S = 75.0
#: bytes and fields of a form; a stranger's is that of the sign-in
_MAX_FORM, _MAX_FIELDS = 512 * 1024, 1000
_MAX_STRANGERS_FORM, _MAX_STRANGERS_FIELDS = 8 * 1024, 16
PageResponder = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Adds the pages to an application."""

    def __init__(self, desk: PageContext, renderer: Renderer, server: Server, frames: FramePolicy) -> None:
        self._desk = desk
        self._server = server
        self._frames = frames
        self._renderer = renderer

    def add_to(self, application: web.Application) -> None:
        """All routes below `/ui` and `/portal`."""
        router = application.router
        for path in ("/", "/ui/"):
            router.add_get(path, self._to_ui)
        router.add_get("/ui/assets/{name}", self._serve(None, self._asset, ""))
        for entry in SCREENS:
            for prefix in ("/ui/t/{tenant}/{mode}", "/portal/{token}") if entry.scoped else ("/ui",):
                router.add_route(entry.method, prefix + entry.path, self._serve(entry, None, prefix))
        router.add_get("/portal/{token}", self._to_portal)
        for prefix in ("/ui", "/portal"):
            router.add_route("*", prefix + "/{rest:.*}", self._serve(None, self._nothing, ""))
        application.on_shutdown.append(self._close)

    async def _close(self, _application: web.Application) -> None:
        await self._desk.hub.close()

    async def _to_ui(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=303, headers={"Location": "/ui"})

    async def _to_portal(self, request: web.Request) -> web.StreamResponse:
        token = quote(request.match_info["token"], safe="")
        headers = headers_of(None, self._frames, portal=True) | {"Location": f"/portal/{token}/overview"}
        return web.Response(status=303, headers=headers)

    async def _asset(self, _desk: PageContext, visit: PageRequest) -> PageResult:
        return self._renderer.assets.file(visit.path["name"])

    async def _nothing(self, _desk: PageContext, _visit: PageRequest) -> PageResult:
        raise ApiError(404, "not_found", "there is no such page")

    def _serve(self, entry: PageRoute | None, plain: PageHandler | None, prefix: str) -> PageResponder:
        async def serve(request: web.Request) -> web.StreamResponse:
            visit = self._visit(request, prefix)
            try:
                self._limit(visit)
                async with asyncio.timeout(_DEADLINE_S):
                    if entry is not None:
                        visit = await self._admitted(entry, request, visit)
                    screen = plain or (entry.screen if entry is not None else self._nothing)
                    result = await screen(self._desk.acting(visit.caller), visit)
            except Exception as failure:
                result = self._failed(failure, visit)
            return await self._answer(request, visit, result)

        return serve

    def _visit(self, request: web.Request, prefix: str) -> PageRequest:
        """The request with its grant, before authorisation."""
        now_ms = self._desk.api.clock.now_ms()
        token = request.match_info.get("token") if prefix.startswith("/portal") else request.cookies.get(COOKIE)
        grant = self._desk.api.tokens.read(token, now_ms) if token else None
        if grant is not None and (grant.kind == "portal") != prefix.startswith("/portal"):
            grant = None
        caller = allowed_caller(self._desk.api.feed.directory, grant, now_ms) if grant is not None else None
        if grant is not None and (caller is None or self._desk.login_throttle.has_ended(grant.id)):
            grant, caller = None, None
        base = "/ui"
        if "tenant" in request.match_info:
            base = f"/ui/t/{request.match_info['tenant']}/{request.match_info['mode']}"
        elif prefix.startswith("/portal"):
            base = f"/portal/{token}"
        return PageRequest(
            grant=grant,
            caller=caller or Caller(f"stranger {request.remote}"),
            base=base,
            csrf=self._desk.api.tokens.proof("form", grant.id) if grant is not None else "",
            path=dict(request.match_info),
            query=dict(request.query),
            here=request.path_qs,
            host=request.headers.get("Host", ""),
            address=request.remote or "",
            partial=_is_partial(request),
            cookies=dict(request.cookies),
            last_event_id=request.headers.get("Last-Event-ID", "")[:64],
        )

    def _limit(self, visit: PageRequest) -> None:
        limits, now_s = self._server.limits, self._desk.api.clock.monotonic()
        stranger = visit.grant is None
        allowed, _ = limits.take_stranger(visit.address, now_s) if stranger else limits.take(visit.caller, now_s)
        if not allowed:
            raise ApiError(429, "too_many_requests", "too many requests: wait a second")

    async def _admitted(self, entry: PageRoute, request: web.Request, visit: PageRequest) -> PageRequest:
        """The request with its form, once it is authorised. Raises `ApiError`."""
        if entry.reach != "anyone":
            visit = _placed(entry, visit)
        if entry.method == "POST":
            visit = await self._with_form(entry, request, visit)
        return visit

    async def _with_form(self, entry: PageRoute, request: web.Request, visit: PageRequest) -> PageRequest:
        if not _same_origin(request):
            raise ApiError(403, "forged", "the form was sent from another site")
        if request.content_type != "application/x-www-form-urlencoded":
            raise ApiError(415, "no_form", "send the page's form")
        stranger, caller = visit.grant is None, visit.caller
        most, fields = (_MAX_STRANGERS_FORM, _MAX_STRANGERS_FIELDS) if stranger else (_MAX_FORM, _MAX_FIELDS)
        async with self._server.bodies.reserved(
            "strangers" if stranger else caller.tenant or caller.id, size_of(request, most)
        ):
            raw = await read_body(request, most, coded=False, whole_s=10.0 if stranger else 60.0)
        if not stranger:
            self._server.limits.charge(caller, 4 * len(raw), self._desk.api.clock.monotonic())
        form = read_form(raw, fields)
        if entry.reach != "anyone" or visit.grant is not None:
            given = request.headers.get("X-CSRF-Token") or form.get("csrf", [""])[0]
            if visit.grant is None or not self._desk.api.tokens.proves("form", visit.grant.id, given):
                raise ApiError(403, "forged", "the form is not from this session: load the page again")
        return msgspec.structs.replace(visit, form=form)

    def _failed(self, failure: Exception, visit: PageRequest) -> PageResult:
        match failure:
            case _NotSignedIn():
                if visit.base.startswith("/portal"):
                    title, detail = "This link has expired", "Ask for a new one where you found it."
                    values = {"title": title, "detail": detail, "code": 401}
                    return TemplatePage(template="error.html", status=401, values=values)
                return Redirect(to="/ui/sign-in" + (f"?next={quote(failure.page, safe='')}" if failure.page else ""))
            case ApiError():
                error = failure
            case CommandRefused():
                error = refused(failure)
            case TooManyStreams():
                error = ApiError(429, "too_many_pages", "too many live pages are open: close some")
            case Unavailable() | TimeoutError():
                self._server.complaints.unavailable("ui.unavailable", failure)
                error = ApiError(503, "unavailable", "the service cannot do this now: try again in a few seconds")
            case _:
                self._server.complaints.failed("ui.failed", failure)
                error = ApiError(500, "internal", "something is wrong on our side")
        values = {"code": error.status, "title": _TITLES.get(error.status, "That did not work"), "detail": error.detail}
        return TemplatePage(template="error.html", status=error.status, values=values)

    async def _answer(self, request: web.Request, visit: PageRequest, result: PageResult) -> web.StreamResponse:
        headers = headers_of(self._renderer.brand(visit), self._frames, portal=request.path.startswith("/portal"))
        response: web.StreamResponse
        cookies: Mapping[str, str] = {}
        match result:
            case EventStream(frames=frames):
                return await _stream(request, frames, headers)
            case StaticFile(body=body, media_type=media_type, lasting=lasting):
                response = web.Response(body=body, content_type=media_type, charset="utf-8", headers=headers)
                response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if lasting else "no-store"
                return response
            case Redirect(to=to, cookies=given):
                cookies = given
                place = {"HX-Redirect": to} if visit.partial else {"Location": to}
                response = web.Response(status=200 if visit.partial else 303, headers=headers | place)
            case TemplatePage(status=status, cookies=given):
                cookies = given
                text = self._renderer.page(result, visit)
                response = web.Response(text=text, status=status, content_type="text/html", headers=headers)
        secure = self._desk.api.public_url.startswith("https://") or request.scheme == "https"
        for name, value in cookies.items():
            if value:
                response.set_cookie(name, value, path="/ui", httponly=True, samesite="Lax", secure=secure)
            else:
                response.del_cookie(name, path="/ui", httponly=True, samesite="Lax", secure=secure)
        return response


class _NotSignedIn(Exception):
    """The request has no session, or its session has ended."""

    def __init__(self, page: str) -> None:
        super().__init__(page)
        #: where to come back to; empty: a form was sent, and where that goes to is no page
        self.page = page


_TITLES = {
    403: "You may not do that",
    404: "There is nothing here",
    412: "It has changed meanwhile",
    422: "The form has errors",
    429: "Too many requests",
    503: "Not now",
}


def _placed(entry: PageRoute, visit: PageRequest) -> PageRequest:
    """The request with the tenant and mode of its path. Raises `ApiError` 404 for other tenants."""
    if visit.grant is None:
        raise _NotSignedIn(visit.here if entry.method == "GET" else "")
    caller = visit.caller
    if not entry.scoped:
        if not caller.operator:
            raise ApiError(403, "forbidden", "this page is for the operator")
        return visit
    tenant, mode = visit.path.get("tenant", caller.tenant), visit.path.get("mode", caller.mode)
    if mode not in ("live", "test") or not is_name(tenant):
        raise ApiError(404, "not_found", "there is no such page")
    if caller.operator:
        key_mode: Mode = "test" if mode == "test" else "live"
        caller = Caller(f"operator/{tenant}/{key_mode}", tenant, key_mode, ("read", "write"), actor="operator")
    elif (tenant, mode) != (caller.tenant, caller.mode):
        raise ApiError(404, "not_found", "there is no such page")
    if entry.reach not in caller.scopes:
        raise ApiError(403, "forbidden", "your access is read-only")
    return msgspec.structs.replace(visit, caller=caller)


def _is_partial(request: web.Request) -> bool:
    """Whether htmx asks for a part of a page; history navigation asks for the whole page."""
    headers = request.headers
    return headers.get("HX-Request") == "true" and headers.get("HX-History-Restore-Request") != "true"


def _same_origin(request: web.Request) -> bool:
    """Whether a form was sent from the site's own pages, by its headers; without them only its token is checked."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    host = request.headers.get("Host", "")
    return origin in (None, "null", f"http://{host}", f"https://{host}")


async def _stream(request: web.Request, frames: Subscription, headers: dict[str, str]) -> web.StreamResponse:
    own = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers | own)
    try:
        async with aclosing(frames) as source:
            await response.prepare(request)
            async for frame in source:
                await response.write(frame)
    except ConnectionResetError:
        pass  # the visitor has left
    return response
