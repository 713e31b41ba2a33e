"""Registry decisions: values that break a rule are refused, with one sentence for each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.model.tenant import Tenant
from app.core.records.command import CreateEndpoint, PutTenant, UpdateEndpoint
from app.profiles.catalog import PROFILES
from tests.roles.registry.registry_stage import (
    changed,
    decide,
    refused,
)

INVALID: list[tuple[str, Any, str]] = [
    ("url", "", "url: is required"),
    ("url", "ftp://x.example", "url: must begin with https://"),
    ("url", "https://" + "x" * 2041, "at most 2048 characters"),
    ("events", [], "events: at least one"),
    ("events", ["a.*.b"], "events: 'a.*.b' is neither"),
    ("events", ["a"] * 501, "events: at most 500"),
    ("description", "x" * 1025, "at most 1024 characters"),
    ("metadata", {str(number): "" for number in range(51)}, "metadata: at most 50"),
    ("headers", {"a b": "x"}, "headers: 'a b' is not a header name"),
    ("headers", {"": "x"}, "is not a header name"),
    ("headers", {"X": "a\r\nb"}, "no line breaks"),
    ("headers", {"X": "\u00e4"}, "visible ASCII"),
    ("headers", {"X": "x" * 4097}, "headers: at most 4096 characters"),
    ("headers", {"Host": "x"}, "headers: Host is set by the service"),
    ("headers", {"Content-Type": "x"}, "is set by the service"),
    ("headers", {"Webhook-Id": "x"}, "is set by the service"),
    ("headers", {"X-Bota-Signature": "x"}, "is set by the service"),
    ("headers", {f"X-{number}": "" for number in range(31)}, "headers: at most 30"),
    ("transform", "data.", "transform: is not a JMESPath expression"),
    ("transform", "a" * 2049, "transform: at most 2048 characters"),
    ("include_fields", [], "include_fields: at least one path"),
    ("include_fields", ["a"] * 101, "include_fields: at most 100"),
    ("include_fields", ["a" * 257], "include_fields: at most 256 characters"),
    ("include_fields", ["a..b"], "include_fields: 'a..b' is not a path"),
    ("schedule", [], "schedule: at least 1"),
    ("schedule", [1] * 101, "schedule: at most 100"),
    ("schedule", [-1], "schedule: at least 0"),
    ("schedule", [7 * 86_400 + 1], "schedule: at most 604800"),
    ("timeout", 0.05, "timeout: at least 0.1"),
    ("timeout", 61, "timeout: at most 60"),
    ("max_in_flight", 0, "max_in_flight: at least 1"),
    ("max_in_flight", 1001, "max_in_flight: at most 1000"),
    ("rate_limit", 0, "rate_limit: at least 0.001"),
    ("rate_limit", 100_001, "rate_limit: at most 100000"),
]


MISTYPED: list[tuple[str, Any]] = [
    ("url", None),
    ("url", 1),
    ("events", "a.*"),
    ("status", "asleep"),
    ("headers", {"X": 1}),
    ("ordering", "lifo"),
    ("envelope", "soap"),
    ("transform", 1),
    ("include_fields", "id"),
    ("timeout", "5"),
    ("max_in_flight", 1.5),
    ("secrets", [{}]),
    ("metadata", []),
]


@pytest.mark.parametrize(("field", "value", "sentence"), INVALID, ids=[row[0] for row in INVALID])
def test_an_invalid_value_is_refused_with_a_sentence(field: str, value: Any, sentence: str) -> None:
    endpoint = msgspec.structs.replace(changed(id="ep_2"), **{field: value})  # not checked, unlike decoding
    for code, detail in (refused(CreateEndpoint(endpoint)), refused(UpdateEndpoint("ep_1", {field: value}))):
        assert code == "invalid"
        assert sentence in detail


@pytest.mark.parametrize(("field", "value"), MISTYPED)
def test_a_value_of_another_type_is_refused_with_its_place(field: str, value: Any) -> None:
    code, detail = refused(UpdateEndpoint("ep_1", {field: value}))
    assert code == "invalid"
    assert detail.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "https://" + "x" * 2040),
        ("events", ["a"] * 500),
        ("description", "x" * 1024),
        ("timeout", 0.1),
        ("timeout", 60),
        ("max_in_flight", 1000),
        ("rate_limit", 0.001),
        ("schedule", [0, 7 * 86_400]),
        ("headers", {"X-Mine": "x" * 4096}),
        ("metadata", {str(number): "" for number in range(50)}),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_values_at_the_limit_are_allowed(field: str, value: Any) -> None:
    assert decide(UpdateEndpoint("ep_1", {field: value})).version == 4


@pytest.mark.parametrize(
    ("tenant", "profile", "sentence"),
    [
        ("a/b", "standard", "tenant"),
        ("", "standard", "tenant"),
        ("acme", "standart", "did you mean standard?"),
        ("acme", "zzz", f"one of {', '.join(sorted(PROFILES))}"),
    ],
)
def test_an_invalid_tenant_or_profile_is_refused(tenant: str, profile: str, sentence: str) -> None:
    for action in (
        CreateEndpoint(changed(id="ep_2", tenant=tenant, profile=profile)),
        PutTenant(Tenant(id=tenant, profile=profile)),
    ):
        code, detail = refused(action)
        assert code == "invalid"
        assert sentence in detail


def test_all_problems_are_reported_at_once() -> None:
    code, detail = refused(UpdateEndpoint("ep_1", {"url": "x", "events": [], "timeout": 99}))
    assert code == "invalid"
    assert [part.partition(":")[0] for part in detail.split("; ")] == ["timeout", "url", "events"]


@pytest.mark.parametrize(
    "changes", [{"disable_after_failures": -1}, {"disable_after_days": 366}, {"epoch": 7}, {"failing_since_ms": 1}]
)
def test_a_rule_has_bounds_and_its_state_cannot_be_set(changes: dict[str, Any]) -> None:
    code, detail = refused(UpdateEndpoint("ep_1", changes))
    assert code == "invalid" and next(iter(changes)) in detail


@pytest.mark.parametrize(
    "address",
    ["a@b\r\nBcc: c@d", "a b@c", "a@b,c@d", "<a@b>", "@b", "a@", "a", "x" * 300 + "@b.c"],
)
def test_an_invalid_address_is_refused(address: str) -> None:
    code, detail = refused(PutTenant(Tenant(id="acme", notify_emails=("ok@x.example", address))))
    assert code == "invalid" and "is not an e-mail address" in detail
