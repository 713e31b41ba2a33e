"""Custom headers whose values are secrets: sealed in the registry, and masked wherever an endpoint is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from app.core.model.endpoint import Endpoint, SealedSecret

#: stands for a sealed value wherever headers are shown; in a change it keeps the present value
MASK = "********"
_NAMES = frozenset({"authorization", "proxy-authorization", "cookie"})
_SUFFIXES = ("-key", "-token", "-secret")


class StoredHeaders(NamedTuple):
    """Custom headers as the registry stores them."""

    #: all names; the value of a sealed one is `MASK`
    headers: dict[str, str]
    sealed: dict[str, SealedSecret]


def is_sensitive(name: str) -> bool:
    """Whether the values of headers of that name are secrets."""
    lowered = name.lower()
    return lowered in _NAMES or lowered.endswith(_SUFFIXES)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers for output, also of an endpoint that was stored before values were sealed."""
    return {name: MASK if is_sensitive(name) else value for name, value in headers.items()}


def has_plain(endpoint: Endpoint) -> bool:
    """Whether the registry stores a sensitive value of the endpoint in plain text."""
    return any(is_sensitive(name) and name not in endpoint.sealed_headers for name in endpoint.headers)


def stored(
    headers: Mapping[str, str], current: Endpoint | None, seal: Callable[[str], SealedSecret]
) -> tuple[StoredHeaders, list[str]]:
    """What to store of the headers of a request, and the names of those that are masked but have no present value."""
    shown, sealed, unmatched = masked(headers), {}, []
    present = {name.lower(): name for name in current.headers} if current is not None else {}
    for name, value in headers.items():
        if not is_sensitive(name):
            continue
        if value != MASK:
            sealed[name] = seal(value)
            continue
        former = present.get(name.lower())
        if current is None or former is None:
            unmatched.append(name)
        elif former in current.sealed_headers:
            sealed[name] = current.sealed_headers[former]
        else:
            sealed[name] = seal(current.headers[former])
    return StoredHeaders(shown, sealed), unmatched


def opened(endpoint: Endpoint, open_secret: Callable[[SealedSecret, str], str]) -> tuple[tuple[str, str], ...]:
    """Names and values for requests. Raises `ConfigError` when no key of the ring opens a value."""
    sealed = endpoint.sealed_headers
    if not sealed:
        return tuple(endpoint.headers.items())
    owner = endpoint.secret_owner
    return tuple(
        (name, open_secret(sealed[name], owner) if name in sealed else value)
        for name, value in endpoint.headers.items()
    )
