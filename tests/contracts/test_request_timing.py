"""The duration of requests, measured by the middleware under a real server."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.adapters.http.request_timing import timed
from app.adapters.telemetry.metrics import PrometheusMeter
from tests.fakes.clock import FakeClock


async def test_a_request_is_counted_under_its_route_and_never_under_its_path() -> None:
    meter = PrometheusMeter()
    application = web.Application(middlewares=[timed(meter, FakeClock())])

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    async def show(request: web.Request) -> web.Response:
        return web.Response(status=202)

    application.router.add_get("/v1/events/{id}", show)
    application.router.add_get("/live", stream)
    server = TestServer(application)
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as session:
            for path in ("/v1/events/evt_1", "/v1/events/evt_2", "/live"):
                async with session.get(server.make_url(path)) as response:
                    await response.read()
    finally:
        await server.close()
    counts = [each for each in meter.exposition().decode().splitlines() if "request_duration_seconds_count" in each]
    assert counts == [
        'hookstream_http_server_request_duration_seconds_count{code="202",method="GET",route="/v1/events/{id}"} 2.0'
    ]
