"""Links with which a tenant's own customers open the portal."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.api.contract.fields import FieldError
from app.api.contract.tenants import PortalLink, PortalLinkIn
from app.api.grants import Grant
from app.api.handlers import audit
from app.api.handlers.hosts import base_url, is_loopback
from app.api.problems import ApiError, invalid
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.model.tenant import KeyScope
from app.core.model.timestamps import iso


async def create(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Sign a link for the caller's tenant and mode; it may do at most what the caller may."""
    body: PortalLinkIn = call.body or PortalLinkIn()
    base = base_url(api, call)
    caller = call.caller
    scopes: tuple[KeyScope, ...] = tuple(sorted(set(body.scopes or caller.scopes)))
    if not set(scopes) <= set(caller.scopes):
        raise ApiError(403, "forbidden", "a link cannot do what the key that makes it cannot")
    if "read" not in scopes:
        raise invalid(FieldError(detail="a portal has at least the scope read", pointer="/scopes"))
    if body.return_url and not _is_page(api, body.return_url):
        raise invalid(
            FieldError(
                detail="an https:// address, or http:// of this machine where http is allowed", pointer="/return_url"
            )
        )
    until_ms = api.clock.now_ms() + body.expires_in * 1000
    grant = Grant(
        kind="portal",
        id=api.minter.id("pl"),
        expires_at_ms=until_ms,
        tenant=caller.tenant,
        mode=caller.mode,
        scopes=scopes,
        key_id="" if caller.actor else caller.id,
        return_url=body.return_url or "",
    )
    await audit.record(
        api,
        caller,
        "portal-link.create",
        f"portal-link/{grant.id}",
        after={"scopes": scopes, "expires_at": iso(until_ms), "return_url": grant.return_url},
    )
    return ApiResponse(body=PortalLink(url=f"{base}/portal/{api.tokens.sign(grant)}", expires_at=iso(until_ms)))


def _is_page(api: ApiServices, url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return False
    here = parts.scheme == "http" and api.allow_http and is_loopback(url)
    return bool(parts.hostname) and (parts.scheme == "https" or here)
