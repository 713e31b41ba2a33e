"""Seal secrets of endpoints again with the first key of the ring, so that the former keys can be removed from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, S, SealedSecret, SigningKey


class RingUse(NamedTuple):
    """The functions of a key ring that resealing needs."""

    #: the id of the key that seals
    first: str
    open: Callable[[SealedSecret, str], str]
    seal: Callable[[str, str, int], SealedSecret]


def resealed_headers(endpoint: Endpoint, ring: RingUse) -> dict[str, SealedSecret] | None:
    """The sealed values of its custom headers, all sealed with the first key; None if they are already.

    Raises `ConfigError` when one does not open.
    """
    if all(sealed.key_id == ring.first for sealed in endpoint.sealed_headers.values()):
        return None
    owner = endpoint.secret_owner
    return {
        name: ring.seal(ring.open(sealed, owner), owner, sealed.created_at_ms)
        for name, sealed in endpoint.sealed_headers.items()
    }


def resealed_keys(endpoint: Endpoint, ring: RingUse, now_ms: int) -> tuple[SigningKey, ...] | None:
    """The endpoint's signing keys, all sealed with the first key; None if they are already. See `resealed`."""
    return _resealed(endpoint.signing_keys, endpoint.secret_owner, ring, now_ms)


def resealed_auth(endpoint: Endpoint, ring: RingUse) -> SealedSecret | None:
    """The secret of its `auth`, sealed with the first key; None if it is already, or there is none.

    Raises `ConfigError` when it does not open.
    """
    sealed, owner = endpoint.sealed_auth, endpoint.secret_owner
    if sealed is None or sealed.key_id == ring.first:
        return None
    return ring.seal(ring.open(sealed, owner), owner, sealed.created_at_ms)


def resealed(endpoint: Endpoint, ring: RingUse, now_ms: int) -> tuple[SealedSecret, ...] | None:
    """The endpoint's secrets, all sealed with the first key; None if they are already.

    A secret that has expired and that no key opens is dropped. Raises `ConfigError` when another one does not open.
    """
    return _resealed(endpoint.secrets, endpoint.secret_owner, ring, now_ms)


def _resealed(former: tuple[S, ...], owner: str, ring: RingUse, now_ms: int) -> tuple[S, ...] | None:
    if all(sealed.key_id == ring.first for sealed in former):
        return None
    fresh = []
    for sealed in former:
        if sealed.key_id == ring.first:
            fresh.append(sealed)
            continue
        try:
            plain = ring.open(sealed, owner)
        except ConfigError:
            if sealed.expires_at_ms is not None and sealed.expires_at_ms <= now_ms:
                continue
            raise
        again = ring.seal(plain, owner, sealed.created_at_ms)
        fresh.append(msgspec.structs.replace(sealed, key_id=again.key_id, blob=again.blob))
    return tuple(fresh)
