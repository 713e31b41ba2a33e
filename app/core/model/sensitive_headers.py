"""Custom headers whose values are secrets: sealed in the registry, and masked wherever an endpoint is shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.receiver_auth import MASK

_NAMES = frozenset({"authorization", "proxy-authorization", "cookie"})
_SUFFIXES = ("-key", "-token", "-secret")


class StoredHeaders(NamedTuple):
    """Custom headers as the registry stores them."""

    #: all names; the value of a sealed one is `MASK`
    headers: dict[str, str]
    sealed: dict[str, SealedSecret]


def is_sensitive(name: str, marked: Collection[str] = ()) -> bool:
    """Whether the values of headers of that name are secrets; `marked` are names that the customer says are."""
    lowered = name.lower()
    return lowered in _NAMES or lowered.endswith(_SUFFIXES) or any(lowered == each.lower() for each in marked)


def masked(headers: Mapping[str, str], marked: Collection[str] = ()) -> dict[str, str]:
    """The headers for output, also of an endpoint that was stored before values were sealed."""
    return {name: MASK if is_sensitive(name, marked) else value for name, value in headers.items()}


def has_plain(endpoint: Endpoint) -> bool:
    """Whether the registry stores a sensitive value of the endpoint in plain text."""
    return any(
        is_sensitive(name, endpoint.sensitive_headers or ()) and name not in endpoint.sealed_headers
        for name in endpoint.headers
    )


def stored(
    headers: Mapping[str, str],
    current: Endpoint | None,
    seal: Callable[[str], SealedSecret],
    marked: Collection[str] = (),
) -> tuple[StoredHeaders, list[str]]:
    """What to store of the headers of a request, and the names of those that are masked but have no present value.

    A value that is sealed stays sealed when its name is no longer marked, until it is replaced: it is never shown.
    """
    shown, sealed, unmatched = masked(headers, marked), {}, []
    present = {name.lower(): name for name in current.headers} if current is not None else {}
    for name, value in headers.items():
        former = present.get(name.lower())
        if current is not None and former is not None and value == MASK and former in current.sealed_headers:
            sealed[name] = current.sealed_headers[former]
        elif not is_sensitive(name, marked):
            continue
        elif value != MASK:
            sealed[name] = seal(value)
        elif current is None or former is None:
            unmatched.append(name)
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
