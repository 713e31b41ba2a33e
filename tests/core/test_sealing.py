"""A ring is compared with what others have sealed: the same key id is not enough."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from app.adapters.secrets.keyring import AesKeyRing
from app.core.directory import Directory
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.sealing import SealedSamples, newest_secret_problem


def ring(*keys: tuple[str, int]) -> AesKeyRing:
    return AesKeyRing(",".join(f"{name}:{base64.b64encode(bytes([byte]) * 32).decode()}" for name, byte in keys))


OURS, OTHER = ring(("k1", 1)), ring(("k1", 2))


def endpoint(id_: str, *secrets: SealedSecret) -> Endpoint:
    return Endpoint(
        id=id_,
        tenant="acme",
        mode="live",
        url="https://x.example/",
        events=("*",),
        profile="standard",
        secrets=secrets,
    )


def sealed(id_: str, by: AesKeyRing, at_ms: int = 1, until_ms: int | None = None) -> SealedSecret:
    secret = by.seal("whsec_x", f"acme/{id_}", at_ms)
    return msgspec.structs.replace(secret, expires_at_ms=until_ms)


def samples(endpoints: Sequence[Endpoint]) -> SealedSamples:
    directory = Directory()
    for each in endpoints:
        directory.put_endpoint(each)
    return directory.sealed


def test_the_same_ring_fits_and_another_one_is_named() -> None:
    assert samples([]).problem(OURS.open) is None
    seen = samples([endpoint("ep_1", sealed("ep_1", OURS)), endpoint("ep_2")])
    assert seen.problem(OURS.open) is None
    problem = seen.problem(OTHER.open)
    assert problem is not None and "acme/ep_1 does not open with key k1" in problem
    assert "the same HOOKSTREAM_SECRET_KEYS" in problem
    assert "no key k1" in (seen.problem(ring(("k2", 1)).open) or "")


def test_one_secret_that_opens_proves_the_key() -> None:
    """A broken record must not take every process out of service."""
    broken = [endpoint(f"ep_{n}", sealed(f"ep_{n}", OTHER)) for n in range(9)]
    fine = endpoint("ep_fine", sealed("ep_fine", OURS))
    assert samples([fine, *broken]).problem(OURS.open) is None
    assert samples(broken).problem(OURS.open) is not None
    rotated = [endpoint(f"ep_{n}", sealed(f"ep_{n}", OURS, 2)) for n in range(9)]
    assert samples([*broken, *rotated]).problem(OURS.open) is None, "the remedy"


def test_every_key_has_to_open() -> None:
    both = ring(("k2", 3), ("k1", 1))
    seen = samples([endpoint("ep_1", sealed("ep_1", OURS)), endpoint("ep_2", sealed("ep_2", both))])
    assert seen.problem(both.open) is None
    assert "no key k2" in (seen.problem(OURS.open) or "")


def test_a_secret_that_expires_may_be_of_a_key_that_was_removed() -> None:
    old = sealed("ep_1", ring(("k0", 9)), until_ms=5)
    assert samples([endpoint("ep_1", sealed("ep_1", OURS, 2), old)]).problem(OURS.open) is None


def test_memory_is_bounded() -> None:
    many = [endpoint(f"ep_{n}", sealed(f"ep_{n}", OTHER)) for n in range(200)]
    latest = [endpoint(f"ep_{n}", sealed(f"ep_{n}", OURS)) for n in range(200, 216)]
    seen = samples([*many, *latest])
    assert seen.problem(OURS.open) is None and seen.problem(OTHER.open) is not None, "the latest count"
    assert sum(map(len, seen._by_key.values())) == 16


def test_a_new_secret_has_to_open_where_it_is_registered() -> None:
    assert newest_secret_problem(endpoint("ep_1"), OURS.open) is None
    assert newest_secret_problem(endpoint("ep_1", sealed("ep_1", OURS)), OURS.open) is None
    assert "another key ring" in (newest_secret_problem(endpoint("ep_1", sealed("ep_1", OTHER)), OURS.open) or "")
    rotated = endpoint("ep_1", sealed("ep_1", OURS, 9), sealed("ep_1", OTHER, 1, until_ms=20))
    assert newest_secret_problem(rotated, OURS.open) is None, "whatever the old one is"


def test_sealed_headers_and_auth_are_sampled_where_nothing_is_signed() -> None:
    mine, foreign = sealed("ep_1", OURS), sealed("ep_1", OTHER)
    for field, wrong in (("sealed_headers", {"X-Api-Key": foreign}), ("sealed_auth", foreign)):
        unsigned = msgspec.structs.replace(endpoint("ep_1"), **{field: wrong})
        assert samples([unsigned]).problem(OURS.open) is not None, field
        assert samples([unsigned]).problem(OTHER.open) is None, field
        signed = msgspec.structs.replace(unsigned, secrets=(mine,))
        assert "another key ring" in (newest_secret_problem(signed, OURS.open) or ""), field
