"""The registry's rules: each field may have its limit, and not one more, whoever sends the command."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core import limits
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.event_types import EventType
from app.core.model.tenant import ApiKey, Brand, Tenant
from app.profiles.catalog import PROFILES
from app.roles.registry.rules import endpoint_problems, event_type_problems, key_problems, tenant_problems

ENDPOINT = Endpoint(id="ep", tenant="acme", mode="live", url="https://a.example/", events=("*",), profile="standard")
TENANT = Tenant(id="acme")
KEY = ApiKey(id="key_1", tenant="acme", mode="live", digest="0" * 64, last4="abcd")
TYPE = EventType(name="a.b", tenant="acme", mode="live")
PNG = "data:image/png;base64,"
SECRET = SealedSecret(key_id="k1", blob="A" * 400, created_at_ms=0)


def numbered(number: int, name: int, value: int) -> dict[str, str]:
    return {f"{'x' * (name - 4)}{each:04}": "v" * value for each in range(number)}


def problems(entity: Any) -> list[str]:
    match entity:
        case Endpoint():
            return endpoint_problems(entity, PROFILES)
        case Tenant():
            return tenant_problems(entity, PROFILES)
        case ApiKey():
            return key_problems(entity)
        case _:
            return event_type_problems(entity)


#: entity, field, at its limit, beyond it
CASES: list[tuple[Any, str, Any, Any]] = [
    (ENDPOINT, "id", "x" * 128, "x" * 129),
    (ENDPOINT, "url", "https://" + "x" * 2040, "https://" + "x" * 2041),
    (ENDPOINT, "description", "x" * 1024, "x" * 3_000_000),
    (ENDPOINT, "status_reason", "x" * 1024, "x" * 1025),
    (ENDPOINT, "events", ("a.b",) * 500, ("a.b",) * 501),
    (ENDPOINT, "events", ("x" * 256,), ("x" * 257,)),
    (ENDPOINT, "metadata", numbered(50, 64, 512), numbered(51, 64, 512)),
    (ENDPOINT, "metadata", numbered(1, 64, 512), numbered(1, 65, 512)),
    (ENDPOINT, "metadata", numbered(1, 64, 512), numbered(1, 64, 513)),
    (ENDPOINT, "headers", numbered(30, 100, 400), numbered(31, 100, 400)),
    (ENDPOINT, "headers", numbered(4, 96, 4000), numbered(4, 97, 4000)),
    (ENDPOINT, "headers", numbered(1, 128, 4096), numbered(1, 129, 4096)),
    (ENDPOINT, "headers", numbered(1, 128, 4096), numbered(1, 128, 4097)),
    (ENDPOINT, "schedule", (0.0,) * 100, (0.0,) * 101),
    (ENDPOINT, "schedule", (604_800.0,) * 4, (604_801.0,)),
    (ENDPOINT, "schedule", (604_800.0,) * 4 + (172_800.0,), (604_800.0,) * 5),
    (ENDPOINT, "timeout", 60.0, 60.1),
    (ENDPOINT, "timeout", 0.1, float("nan")),
    (ENDPOINT, "max_in_flight", 1000, 1001),
    (ENDPOINT, "rate_limit", 100_000.0, 100_001.0),
    (ENDPOINT, "disable_after_failures", 1_000_000, 1_000_001),
    (ENDPOINT, "disable_after_days", 365.0, 366.0),
    (ENDPOINT, "profile", "bota", "x" * 3_000_000),
    (ENDPOINT, "secrets", (SECRET,) * 10, (SECRET,) * 11),
    (ENDPOINT, "secrets", (SECRET,), (msgspec.structs.replace(SECRET, blob="A" * 3000),)),
    (TENANT, "name", "x" * 256, "x" * 257),
    (TENANT, "profile", "bota", "x" * 3_000_000),
    (TENANT, "notify_emails", ("a@b.example",) * 20, ("a@b.example",) * 21),
    (TENANT, "notify_emails", ("a@" + "b" * 252,), ("a@" + "b" * 253,)),
    (TENANT, "brand", Brand(name="x" * 64), Brand(name="x" * 65)),
    (TENANT, "brand", Brand(logo=PNG + "A" * 32_768), Brand(logo=PNG + "A" * 32_769)),
    (KEY, "name", "x" * 256, "x" * 257),
    (KEY, "scopes", ("read", "write", "pull"), ("read", "write", "pull", "read")),
    (KEY, "scopes", ("read",), ()),
    (KEY, "digest", "f" * 64, "f" * 65),
    (KEY, "last4", "abcd", "abcde"),
    (KEY, "id", "x" * 128, "x" * 129),
    (TYPE, "name", "x" * 256, "x" * 257),
    (TYPE, "description", "x" * 1024, "x" * 1025),
    (TYPE, "example", '"' + "x" * 65_534 + '"', '"' + "x" * 65_535 + '"'),
    (TYPE, "schema", '"' + "x" * 65_534 + '"', '"' + "x" * 65_535 + '"'),
]


@pytest.mark.parametrize(("entity", "field", "most", "more"), CASES)
def test_each_field_may_have_its_limit_and_not_one_more(entity: Any, field: str, most: Any, more: Any) -> None:
    assert problems(msgspec.structs.replace(entity, **{field: most})) == []
    sentences = problems(msgspec.structs.replace(entity, **{field: more}))
    assert sentences and sum(map(len, sentences)) < 2000, "a refusal does not repeat what was too long"


def test_every_profiles_schedule_is_within_the_limits() -> None:
    for profile in PROFILES.values():
        assert len(profile.schedule_s) <= limits.SCHEDULE and sum(profile.schedule_s) <= limits.SCHEDULE_S
