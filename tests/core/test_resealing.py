"""Sealing secrets again with the first key of the ring."""

from __future__ import annotations

import msgspec
import pytest

from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.resealing import RingUse, resealed, resealed_auth, resealed_headers, resealed_keys

OLD, NEW = generate_ring(), generate_ring()


def use(text: str) -> RingUse:
    """The functions of a ring."""
    ring = AesKeyRing(text)
    return RingUse(ring.first, ring.open, ring.seal)


def endpoint(*secrets: SealedSecret) -> Endpoint:
    """One with these secrets."""
    return Endpoint(
        id="ep_1",
        tenant="acme",
        mode="live",
        profile="standard",
        url="https://a.example",
        events=("*",),
        secrets=secrets,
    )


def test_secrets_are_the_same_under_the_new_key() -> None:
    old, both, new = use(OLD), use(f"{NEW},{OLD}"), use(NEW)
    first = old.seal("whsec_a", "acme/ep_1", 5)
    second = SealedSecret(
        key_id=first.key_id, blob=old.seal("whsec_b", "acme/ep_1", 4).blob, created_at_ms=4, expires_at_ms=900
    )
    fresh = resealed(endpoint(first, second), both, 100)
    assert fresh is not None
    assert [new.open(each, "acme/ep_1") for each in fresh] == ["whsec_a", "whsec_b"]
    assert [(each.created_at_ms, each.expires_at_ms) for each in fresh] == [(5, None), (4, 900)]
    assert resealed(endpoint(*fresh), both, 100) is None


def test_without_secrets_nothing_changes() -> None:
    assert resealed(endpoint(), use(NEW), 0) is None


def test_a_secret_that_no_key_opens_is_an_error_unless_it_has_expired() -> None:
    lost = use(OLD).seal("whsec_a", "acme/ep_1", 5)
    with pytest.raises(ConfigError):
        resealed(endpoint(lost), use(NEW), 100)
    expired = SealedSecret(key_id=lost.key_id, blob=lost.blob, created_at_ms=5, expires_at_ms=99)
    assert resealed(endpoint(expired), use(NEW), 100) == ()


def test_header_values_are_the_same_under_the_new_key() -> None:
    old, both, new = use(OLD), use(f"{NEW},{OLD}"), use(NEW)
    sealed = old.seal("Bearer a", "acme/ep_1", 5)
    before = msgspec.structs.replace(endpoint(), sealed_headers={"Authorization": sealed})
    fresh = resealed_headers(before, both)
    assert fresh is not None and new.open(fresh["Authorization"], "acme/ep_1") == "Bearer a"
    assert resealed_headers(msgspec.structs.replace(before, sealed_headers=fresh), both) is None
    with pytest.raises(ConfigError):
        resealed_headers(before, new)


def test_signing_keys_are_the_same_under_the_new_key() -> None:
    both = use(f"{NEW},{OLD}")
    keys = [AesKeyRing(OLD).seal_key(None, "acme/ep_1", at) for at in (5, 4)]
    before = msgspec.structs.replace(
        endpoint(), signing_keys=(keys[0], msgspec.structs.replace(keys[1], expires_at_ms=900))
    )
    fresh = resealed_keys(before, both, 100)
    assert fresh is not None
    assert [AesKeyRing(NEW).signer(each, "acme/ep_1")(b"m") for each in fresh] == [
        AesKeyRing(OLD).signer(each, "acme/ep_1")(b"m") for each in keys
    ]
    assert [(each.public, each.created_at_ms, each.expires_at_ms) for each in fresh] == [
        (keys[0].public, 5, None),
        (keys[1].public, 4, 900),
    ]
    assert resealed_keys(msgspec.structs.replace(before, signing_keys=fresh), both, 100) is None


def test_the_secret_of_auth_is_the_same_under_the_new_key() -> None:
    old, both, new = use(OLD), use(f"{NEW},{OLD}"), use(NEW)
    before = msgspec.structs.replace(endpoint(), sealed_auth=old.seal("t0ken", "acme/ep_1", 5))
    fresh = resealed_auth(before, both)
    assert fresh is not None and new.open(fresh, "acme/ep_1") == "t0ken" and fresh.created_at_ms == 5
    assert resealed_auth(msgspec.structs.replace(before, sealed_auth=fresh), both) is None
    assert resealed_auth(endpoint(), both) is None
    with pytest.raises(ConfigError):
        resealed_auth(before, new)
