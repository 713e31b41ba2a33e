"""The host of links: HOOKSTREAM_PUBLIC_URL, or this machine. Clients can forge the Host header."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiServices


def base_url(api: ApiServices, call: ApiRequest) -> str:
    """The base URL of links. Raises `ApiError` 409."""
    if api.public_url:
        return api.public_url
    base = f"http://{call.headers.get('host', '')}"
    if not is_loopback(base):
        detail = (
            "links need HOOKSTREAM_PUBLIC_URL: where this service is found from outside is not taken from a request"
        )
        raise ApiError(409, "no_public_url", detail)
    return base


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is a loopback address."""
    try:
        host = urlsplit(url).hostname or ""
        _ = urlsplit(url).port
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
