"""Endpoints that are alike hold the same objects, and nothing else about them changes."""

from __future__ import annotations

import msgspec

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.records import registry
from app.core.shared_values import SharedValues


def endpoint(number: int, **more: object) -> Endpoint:
    plain = Endpoint(
        id=f"ep_{number}",
        tenant="acme",
        mode="live",
        url=f"https://x.example/{number}",
        events=("order.*", "invoice.paid"),
        profile="standard",
        secrets=(SealedSecret(key_id="k1", blob="AAAA", created_at_ms=1),),
        description="a shop",
        schedule=(0.0, 5.0),
    )
    return msgspec.structs.replace(plain, **more)


def test_what_two_endpoints_have_in_common_is_in_memory_once() -> None:
    where = Directory()
    for number in (1, 2):
        registry.apply(where, f"endpoint/ep_{number}", registry.encode(endpoint(number)))
    one, two = where.endpoints()
    assert (one, two) == (endpoint(1), endpoint(2))
    for name in ("tenant", "profile", "events", "description", "schedule", "metadata", "headers"):
        assert getattr(one, name) is getattr(two, name), name
    assert one.secrets[0].key_id is two.secrets[0].key_id


def test_labels_of_one_endpoint_stay_its_own() -> None:
    first, second = endpoint(1, metadata={"team": "a"}), endpoint(2, headers={"X-Key": "b"})
    shared = SharedValues()
    shared.share(first)
    shared.share(second)
    assert (first.metadata, first.headers, second.metadata, second.headers) == ({"team": "a"}, {}, {}, {"X-Key": "b"})


def test_many_different_values_do_not_gather() -> None:
    shared = SharedValues(most=10)
    for number in range(1000):
        assert shared.of(f"v{number}") == f"v{number}"
        assert len(shared) <= 10
