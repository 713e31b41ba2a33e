"""`/unsubscribe`: the link in our e-mail. GET asks, since mail scanners follow links; POST, the button or a mail
program's one click (RFC 8058), does it.
"""

from __future__ import annotations

from html import escape

import structlog
from aiohttp import web

from app.api.request import ApiServices
from app.core import email
from app.core.errors import ConfigError, Defect
from app.core.records.command import UnsubscribeAddress

log = structlog.get_logger(__name__)

PATH = email.UNSUBSCRIBE_PATH
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer"><title>Notices about webhooks</title></head>
<body style="font-family: sans-serif; max-width: 32em; margin: 3em auto; line-height: 1.5">{}</body></html>
"""


async def answer(api: ApiServices, request: web.Request) -> web.Response:
    """GET: a page that asks for confirmation. POST: unsubscribe and return a confirmation page."""
    token = request.query.get("token", "")
    try:
        tenant, sealed = email.read_unsubscribe_token(token)
        address = api.keyring.open(sealed, email.unsubscribe_owner(tenant))
    except (ConfigError, Defect):
        return _page(400, "<h1>This link is not valid</h1><p>Copy it from the e-mail as a whole.</p>")
    if request.method == "POST":
        await api.command(UnsubscribeAddress(tenant, address), tenant)
        log.info("unsubscribe.done", tenant=tenant)
        return _page(200, f"<h1>Done</h1><p>{escape(address)} gets no more e-mail about webhooks of this account.</p>")
    return _page(
        200,
        f"<h1>No more e-mail?</h1><p>{escape(address)} is told when webhook endpoints fail or are disabled.</p>"
        f'<form method="post" action="{PATH}?token={escape(token)}"><button>Unsubscribe</button></form>',
    )


def _page(status: int, body: str) -> web.Response:
    headers = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
    return web.Response(status=status, text=_PAGE.format(body), content_type="text/html", headers=headers)
