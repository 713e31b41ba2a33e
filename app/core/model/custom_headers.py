"""The rules for the headers that a customer gives to an endpoint."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from app.core import limits

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
HEADER_TEXT = re.compile(r"[\x20-\x7e\t]*")
#: customers may not set these headers: they frame the request, or Hookstream sets them
RESERVED_HEADERS = frozenset(
    [
        "host",
        "content-length",
        "content-type",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
        "user-agent",
        "accept-encoding",
        "traceparent",
    ]
)
RESERVED_PREFIXES = ("webhook-", "svix-", "x-webhook-signature", "x-bota-signature")


def header_problems(headers: Mapping[str, str]) -> Iterator[str]:
    """All problems of names and values."""
    if sum(len(name) + len(value) for name, value in headers.items()) > limits.HEADER_BYTES:
        yield f"names and values have at most {limits.HEADER_BYTES} characters in all"
    for name, value in headers.items():
        if not TOKEN.fullmatch(name):
            yield f"{name[:80]!r} is not a header name"
        elif name.lower() in RESERVED_HEADERS or name.lower().startswith(RESERVED_PREFIXES):
            yield f"{name} is set by the service"
        if not HEADER_TEXT.fullmatch(value):
            yield f"the value of {name[:80]} may hold visible ASCII and spaces, and no line breaks"


def name_problems(names: Collection[str] | None) -> Iterator[str]:
    """All problems of names of headers."""
    for name in names or ():
        if not TOKEN.fullmatch(name):
            yield f"{name[:80]!r} is not a header name"
