"""The API role: an HTTP server over the table of routes; each request is read, judged, limited, carried out, answered.

request ─▶ head? ─▶ who asks? ─▶ may it? ─▶ too often? ─▶ body fits? ─▶ seen before? ─▶ handler ─▶ answer or problem
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec
from aiohttp import web

from app.api.handlers import (
    audit,
    deliveries,
    discards,
    erasures,
    event_types,
    events,
    filters,
    portal,
    previews,
    pulls,
    replays,
    retries,
    signing_keys,
    source_addresses,
    stats,
    tenants,
    webhook_actions,
    webhooks,
)
from app.api.problems import MEDIA_TYPE, ApiError, document, refused, unfit
from app.api.reading import BodyMemory, check_head, read_body, size_of
from app.api.request import ApiRequest, ApiResponse, ApiServices, Caller
from app.api.server import agreement, openapi, unsubscribe
from app.api.server.authentication import STRANGER, Authenticator
from app.api.server.complaints import Complaints
from app.api.server.event_streams import StreamHub
from app.api.server.idempotency import IdempotencyCache
from app.api.server.pull_streams import PullStream
from app.api.server.rate_limits import CallLimits
from app.api.server.routes import MAX_BODY, ROUTES, Route
from app.api.server.streaming import FrameSource, patterns_of, write_stream
from app.core.errors import CommandRefused, Unavailable
from app.data import ASYNCAPI

RouteHandler = Callable[[ApiServices, ApiRequest], Awaitable[ApiResponse]]
RawResponse = tuple[int, dict[str, str], bytes]

_MODULES = {
    "webhooks": webhooks,
    "actions": webhook_actions,
    "erasures": erasures,
    "events": events,
    "event_types": event_types,
    "filters": filters,
    "previews": previews,
    "pulls": pulls,
    "replays": replays,
    "tenants": tenants,
    "audit": audit,
    "portal": portal,
    "signing_keys": signing_keys,
    "source_addresses": source_addresses,
    "deliveries": deliveries,
    "retries": retries,
    "discards": discards,
    "stats": stats,
}
#: a request that takes longer is given up with 503; what it asked for may still happen
_DEADLINE_S = 75.0
#: the headers that say how often the caller may ask: every answer has them, whatever came of the request
_LIMITS = web.RequestKey("limits", Mapping[str, str])
_REQUEST_ID = web.RequestKey("request_id", str)
_encoder = msgspec.json.Encoder()


class Server:
    """Builds the application; `app/adapters/http/web_server.py` listens for it."""

    def __init__(self, services: ApiServices, gate: Authenticator, limits: CallLimits, version: str) -> None:
        self._services = services
        self._gate = gate
        self.limits = limits
        self.complaints = Complaints(services.clock)
        self.bodies = BodyMemory()
        self.streams = StreamHub(services)
        self._memory = IdempotencyCache()
        self._asyncapi = ASYNCAPI.read_bytes()
        self._openapi = _encoder.encode(openapi.document(services.catalogue, version=version))
        self._readers = {route.name: msgspec.json.Decoder(route.takes) for route in ROUTES if route.takes is not None}

    def forget_answers(self) -> None:
        """Forget the answers to all Idempotency-Keys, as a restart does."""
        self._memory = IdempotencyCache()

    def application(self) -> web.Application:
        """All routes of the table, and the document that describes them."""
        application = web.Application(client_max_size=MAX_BODY, middlewares=[self._problems])
        application.on_shutdown.append(self._end_streams)
        for route in ROUTES:
            application.router.add_route(route.method, route.path, self._endpoint(route))
        application.router.add_get("/openapi.json", self._describe)
        application.router.add_get("/asyncapi.yaml", self._describe_messages)
        for method in ("GET", "POST"):
            application.router.add_route(method, unsubscribe.PATH, self._unsubscribe)
            application.router.add_route(method, agreement.PATH, self._agree)
        return application

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        self._limit_stranger(request)
        return web.Response(body=self._openapi, content_type="application/json")

    async def _describe_messages(self, request: web.Request) -> web.StreamResponse:
        self._limit_stranger(request)
        return web.Response(body=self._asyncapi, content_type="application/yaml")

    async def _unsubscribe(self, request: web.Request) -> web.StreamResponse:
        self._limit_stranger(request)
        return await unsubscribe.answer(self._services, request)

    async def _agree(self, request: web.Request) -> web.StreamResponse:
        self._limit_stranger(request)
        return await agreement.answer(self._services, request)

    async def _end_streams(self, _application: web.Application) -> None:
        self._services.pull_waits.stop()
        await self.streams.close()

    async def _stream(self, route: Route, request: web.Request) -> web.StreamResponse:
        caller = self._admitted(route, request)
        patterns = patterns_of(_query(route, request).get("types"))
        subscription = await self.streams.subscribe(
            caller, patterns, self._permission(route, request), request.headers.get("Last-Event-ID", "")
        )
        return await self._written(request, subscription)

    async def _pull_stream(self, route: Route, request: web.Request) -> web.StreamResponse:
        call = self._call(route, request, self._admitted(route, request), b"")
        services = self._services.acting(call.caller.name)
        with services.pull_waits.place(call.caller.tenant, call.caller.payer):
            stream = await PullStream.opened(services, call, self._permission(route, request))
            return await self._written(request, stream)

    async def _written(self, request: web.Request, frames: FrameSource) -> web.StreamResponse:
        return await write_stream(request, frames, {**request.get(_LIMITS, {}), "X-Request-Id": request[_REQUEST_ID]})

    def _permission(self, route: Route, request: web.Request) -> Callable[[], bool]:
        """Whether the caller of a request may still do what it asks for."""
        authorization = request.headers.get("authorization")

        def allowed() -> bool:
            try:
                caller = self._gate.caller(authorization, self._services.clock.now_ms())
                self._gate.demand(route.access, self._gate.acting(caller, request.headers))
            except ApiError:
                return False
            return True

        return allowed

    def _endpoint(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        if route.streams:
            return partial(self._stream, route)
        module, _, function = route.name.partition(".")
        handler: RouteHandler = getattr(_MODULES[module], function + "_" if function == "list" else function)

        async def serve(request: web.Request) -> web.StreamResponse:
            if route.may_stream and "text/event-stream" in request.headers.get("accept", ""):
                return await self._pull_stream(route, request)
            caller = self._admitted(route, request)
            async with asyncio.timeout(_DEADLINE_S):
                status, headers, body = await self._carry_out(route, handler, request, caller)
            return web.Response(status=status, body=body or None, headers=headers)

        return serve

    def _admitted(self, route: Route, request: web.Request) -> Caller:
        """The caller of a request. Raises `ApiError` 401, 403 or 429."""
        if route.access == "anyone":
            self._limit_stranger(request)
            return STRANGER
        now_ms = self._services.clock.now_ms()
        try:
            caller = self._gate.caller(request.headers.get("authorization"), now_ms)
        except ApiError:
            self._limit_stranger(request)
            raise
        self._limit(*self.limits.take(caller, self._services.clock.monotonic()), request)
        caller = self._gate.acting(caller, request.headers)
        self._gate.demand(route.access, caller)
        return caller

    def _limit_stranger(self, request: web.Request) -> None:
        self._limit(*self.limits.take_stranger(request.remote or "", self._services.clock.monotonic()), request)

    def _limit(self, allowed: bool, headers: Mapping[str, str], request: web.Request) -> None:
        request[_LIMITS] = headers
        if not allowed:
            detail = f"at most {self.limits.keys.per_second} requests per second"
            raise ApiError(429, "too_many_requests", detail)

    async def _carry_out(
        self, route: Route, handler: RouteHandler, request: web.Request, caller: Caller
    ) -> RawResponse:
        async with self.bodies.reserved(caller.tenant or caller.id, size_of(request, route.most)):
            raw = await read_body(request, route.most, coded=True)
            self.limits.charge(caller, len(raw), self._services.clock.monotonic())
            return await self._judged(route, handler, request, caller, raw)

    async def _judged(
        self, route: Route, handler: RouteHandler, request: web.Request, caller: Caller, raw: bytes
    ) -> RawResponse:
        call = self._call(route, request, caller, raw)
        if call.idempotency_key is None:
            return _encoded(route, await self._answer(handler, call))
        return await self._once(route, handler, call, call.idempotency_key)

    def _call(self, route: Route, request: web.Request, caller: Caller, raw: bytes) -> ApiRequest:
        return ApiRequest(
            caller=caller,
            path=dict(request.match_info),
            query=_query(route, request),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=self._body(route, request, raw),
            fingerprint=sha256(f"{request.path}\n".encode() + raw).hexdigest(),
            idempotency_key=request.headers.get("idempotency-key") if route.method == "POST" else None,
            id=request[_REQUEST_ID],
        )

    async def _once(self, route: Route, handler: RouteHandler, call: ApiRequest, key: str) -> RawResponse:
        """Carry out a request with an Idempotency-Key, or return the stored response of an earlier one."""
        caller = call.caller.id
        while True:
            stored, mine = self._memory.begin(
                caller, key, call.fingerprint, self._services.clock.now_ms(), call.caller.tenant
            )
            if mine:
                break
            await stored.ended.wait()
            if stored.answer is not None:
                status, headers, body = _encoded(route, stored.again()) if stored.again else stored.answer
                return status, headers | {"Idempotency-Replayed": "true"}, body
        try:
            given = await self._answer(handler, call)
        except BaseException:
            self._memory.forget(caller, key, stored)
            raise
        status, headers, body = _encoded(route, given)
        stored.again = given.again  # what must not be shown for ever is not remembered either
        self._memory.keep(caller, key, stored, (status, headers, b"" if given.again else body))
        if given.transient:
            self._memory.forget(caller, key, stored)
        return status, headers, body

    async def _answer(self, handler: RouteHandler, call: ApiRequest) -> ApiResponse:
        return await handler(self._services.acting(call.caller.name), call)

    def _body(self, route: Route, request: web.Request, raw: bytes) -> Any:
        reader = self._readers.get(route.name)
        if reader is None or (not raw and route.takes_nothing_too):
            return None
        if request.content_type != "application/json":
            raise ApiError(415, "not_json", "the body is JSON: say so with content-type: application/json")
        try:
            raw.decode()
            return reader.decode(raw)
        except msgspec.ValidationError as error:
            raise unfit(error, _json_or_none(raw), route.takes) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(400, "not_json", f"the body is not JSON: {error}") from error

    @web.middleware
    async def _problems(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Assign an id to each request, and turn each failure into a problem document."""
        request_id = request[_REQUEST_ID] = self._services.minter.id("req")
        try:
            check_head(request)
            response = await handler(request)
        except Exception as failure:
            error = self._as_problem(failure, request_id)
            response = web.Response(
                status=error.status, body=document(error, request_id), headers=error.headers, content_type=MEDIA_TYPE
            )
        if response.prepared:
            return response
        response.headers.update(request.get(_LIMITS, {}))
        response.headers["Server"] = "hookstream"
        response.headers["X-Request-Id"] = request_id
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _as_problem(self, failure: Exception, request_id: str) -> ApiError:
        match failure:
            case ApiError():
                return failure
            case CommandRefused():
                return refused(failure)
            case web.HTTPMethodNotAllowed():
                allowed = ", ".join(sorted(failure.allowed_methods))
                return ApiError(405, "method_not_allowed", f"allowed here: {allowed}", headers={"Allow": allowed})
            case web.HTTPException():
                return ApiError(failure.status, "no_such_path", "there is nothing at this path: see /openapi.json")
            case Unavailable() | TimeoutError():
                self.complaints.unavailable("api.unavailable", failure, request=request_id)
                detail = "the service cannot carry this out now; with an Idempotency-Key it is safe to try again"
                return ApiError(503, "unavailable", detail, headers={"Retry-After": "5"})
            case _:
                self.complaints.failed("api.failed", failure, request=request_id)
        return ApiError(500, "internal", "something is wrong on our side; the request's id helps to find it")


def _encoded(route: Route, answer: ApiResponse) -> RawResponse:
    if answer.body is None:
        return route.status, dict(answer.headers), b""
    return route.status, {**answer.headers, "Content-Type": "application/json"}, _encoder.encode(answer.body)


def _query(route: Route, request: web.Request) -> Mapping[str, str]:
    unknown = sorted(set(request.query) - set(route.query))
    if unknown:
        parameters = ", ".join(route.query) or "none"
        raise ApiError(
            400, "invalid_query", f"unknown parameter {', '.join(unknown)}; this operation takes {parameters}"
        )
    twice = sorted({name for name in request.query if len(request.query.getall(name)) > 1})
    if twice:
        raise ApiError(400, "invalid_query", f"parameter {', '.join(twice)}: give it once")
    return dict(request.query)


def _json_or_none(raw: bytes) -> object:
    """The decoded value; None if the text is not valid JSON behind the first error."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
