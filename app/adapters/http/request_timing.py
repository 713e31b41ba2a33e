"""Measure how long the API takes to answer each request."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app.ports.clock import Clock
from app.ports.metrics import Meter

#: the route of a path that no route matches: the paths themselves have no bound
_NO_ROUTE = "none"


def timed(meter: Meter, clock: Clock) -> Middleware:
    """A middleware that observes the duration of each request under its route's template.

    Event streams are not observed: they end when the browser leaves.
    """

    @web.middleware
    async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun_s = clock.monotonic()
        response = await handler(request)
        if isinstance(response, web.Response):
            resource = request.match_info.route.resource
            meter.observe(
                "http_server_request_duration_seconds",
                clock.monotonic() - begun_s,
                route=_NO_ROUTE if resource is None else resource.canonical,
                method=request.method if resource is not None else _NO_ROUTE,
                code=str(response.status),
            )
        return response

    return measure
