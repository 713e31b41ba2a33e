"""What the answers of receivers, the database and the key ring mean."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.diagnosis.surroundings import (
    ORIGINS,
    Connection,
    judge_certificates,
    judge_egress,
    judge_schema,
    judge_secrets,
    sampled_urls,
)
from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret

UP = Connection(outcome="connected")
DOWN = Connection(outcome="failed", reason="Connection refused.")
BLOCKED = Connection(outcome="blocked", reason="The address 10.0.0.1 belongs to a private network.")


def endpoint(number: int, url: str = "", **fields: Any) -> Endpoint:
    """One endpoint with a host of its own."""
    fields = {"tenant": "acme", "mode": "live", "profile": "standard"} | fields
    return Endpoint(id=f"ep_{number:04}", url=url or f"https://h{number}.example", events=("*",), **fields)


@pytest.mark.parametrize(
    ("connections", "severity", "remedy"),
    [
        ({"a": UP, "b": DOWN, "c": BLOCKED}, None, ""),
        ({}, None, ""),
        ({"a": DOWN}, "warning", "firewall"),  # it may be down by itself
        ({"a": DOWN, "b": DOWN}, "error", "firewall"),
        ({"a": BLOCKED}, "error", "HOOKSTREAM_EGRESS_ALLOW"),
    ],
)
def test_egress_is_broken_only_if_no_receiver_can_be_reached(
    connections: dict[str, Connection], severity: str | None, remedy: str
) -> None:
    findings = judge_egress(connections)
    assert [each.severity for each in findings] == ([severity] if severity else [])
    assert all(remedy in each.remedy for each in findings)


def test_receivers_are_sampled_by_host_and_working_ones_first() -> None:
    many = [endpoint(number) for number in range(ORIGINS + 4)]
    failing = endpoint(0, "https://broken.example", failing_since_ms=1)
    same = endpoint(99, "https://h1.example/other")
    paused = endpoint(98, status="paused")
    urls = sampled_urls([failing, paused, same, *many])
    assert len(urls) == ORIGINS and "https://broken.example" not in urls
    assert sampled_urls([failing, paused, many[1], same]) == ["https://h1.example", "https://broken.example"]


def test_secrets_that_no_key_opens_are_counted_and_expired_ones_ignored() -> None:
    lost = SealedSecret(key_id="old", blob="x", created_at_ms=0)
    expired = SealedSecret(key_id="old", blob="x", created_at_ms=0, expires_at_ms=50)
    good = SealedSecret(key_id="new", blob="x", created_at_ms=0)

    def open_secret(sealed: SealedSecret, owner: str) -> str:
        if sealed.key_id == "old":
            raise ConfigError([owner])
        return "secret"

    assert judge_secrets([endpoint(1, secrets=(good, expired))], open_secret, 100) == []
    (finding,) = judge_secrets([endpoint(1, secrets=(good, lost)), endpoint(2, secrets=(lost,))], open_secret, 100)
    assert "2 endpoints (ep_0001, ep_0002)" in finding.problem and "sealed with old" in finding.problem


@pytest.mark.parametrize(
    ("there", "usable", "severity"),
    [("0006", True, []), (None, False, ["warning"]), ("0005", False, ["warning"]), ("0007", False, ["error"])],
)
def test_only_a_newer_schema_stops_the_projection(there: str | None, usable: bool, severity: list[str]) -> None:
    assert [each.severity for each in judge_schema(there, "0006", usable)] == severity


def test_client_certificates_are_a_warning_30_days_before_they_expire_and_an_error_7_days_before() -> None:
    day_ms = 86_400_000
    now_ms = 1_700_000_000_000
    left = {1: 31, 2: 30, 3: 8, 4: 7, 5: -1}
    endpoints = [endpoint(number, auth_expires_at_ms=now_ms + days * day_ms) for number, days in left.items()]
    urgent, soon = judge_certificates([*endpoints, endpoint(6)], now_ms)
    assert (urgent.severity, soon.severity) == ("error", "warning")
    assert "2 endpoints" in urgent.problem and "within 7 days" in urgent.problem
    assert "2 endpoints" in soon.problem and "within 30 days" in soon.problem
    assert judge_certificates([endpoints[0], endpoint(6)], now_ms) == []
    disabled = endpoint(7, auth_expires_at_ms=now_ms, status="disabled")
    assert judge_certificates([disabled], now_ms) == []
