"""`/agreement`: the callback by which a receiver agrees to deliveries (CloudEvents HTTP Web Hooks 1.0, section 4.1.3).

GET and POST do the same, as the specification demands: an administrator may open the URL of a log in a browser.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from app.api.handlers.handshakes import CALLBACK_PATH, is_callback_key, read_rate, record
from app.api.problems import ApiError, not_found
from app.api.request import ApiServices

logger = structlog.get_logger(__name__)
PATH = CALLBACK_PATH


async def answer(api: ApiServices, request: web.Request) -> web.Response:
    """Record the agreement of the endpoint whose key the URL has; a repetition changes nothing."""
    name, key = request.query.get("endpoint", ""), request.query.get("key", "")
    endpoint = api.feed.directory.endpoint(name)
    if endpoint is None or endpoint.verification != "cloudevents" or not is_callback_key(api, endpoint, key):
        raise not_found("handshake", name[:80])
    if endpoint.unverified is not None:
        agreement = read_rate([each.strip() for each in request.headers.getall("WebHook-Allowed-Rate", [])])
        if not agreement.agreed:
            raise ApiError(400, agreement.result, agreement.detail or "")
        await record(api.acting("receiver"), endpoint, agreement)
        logger.info("webhook.agreed_by_callback", endpoint=endpoint.id, tenant=endpoint.tenant, mode=endpoint.mode)
    return web.Response(text="The endpoint gets events from now on.\n", headers={"Referrer-Policy": "no-referrer"})
