"""Who shares a bound on lookups, and what a name server's address looks like."""

from __future__ import annotations

import pytest

from app.core.domains import is_name_server, share_of


@pytest.mark.parametrize(
    ("host", "share"),
    [
        ("hook.example.com", "example.com"),
        ("a.b.Example.COM.", "example.com"),
        ("example.com", "example.com"),
        ("shop.example.co.uk", "example.co.uk"),
        ("example.co.uk", "example.co.uk"),
        ("a.example.de", "example.de"),
        ("localhost", "localhost"),
        ("a.customer.github.io", "github.io"),
    ],
)
def test_lookups_are_limited_by_registrable_domain(host: str, share: str) -> None:
    assert share_of(host) == share


@pytest.mark.parametrize("text", ["10.0.0.2", "10.0.0.2:53", "[fd00::2]:5353", "fd00::2", "[fd00::2]"])
def test_addresses_of_name_servers(text: str) -> None:
    assert is_name_server(text)


@pytest.mark.parametrize("text", ["", "dns.example", "10.0.0.2:", "10.0.0.2:0", "10.0.0.2:70000", "10.0.0", "[x]:53"])
def test_invalid_addresses_of_name_servers(text: str) -> None:
    assert not is_name_server(text)
