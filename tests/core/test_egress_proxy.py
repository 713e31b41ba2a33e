"""The proxy's address, and the hosts that do not go through it."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.egress_proxy import MAX_EXCEPTIONS, ProxyAddress, ProxyExceptions, egress_proxy_problems


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://proxy.internal:8080", ("proxy.internal", 8080)),
        ("http://proxy.internal", ("proxy.internal", 3128)),
        ("http://10.0.0.7:3128/", ("10.0.0.7", 3128)),
        ("http://[fd00::7]:3128", ("fd00::7", 3128)),
    ],
)
def test_an_address_is_read(url: str, place: tuple[str, int]) -> None:
    address = ProxyAddress.parse(url)
    assert (address.host, address.port, address.authorization) == (*place, "")


def test_credentials_are_decoded() -> None:
    scheme, pair = ProxyAddress.parse("http://user:p%40ss%3Aword@proxy:1").authorization.split()
    assert (scheme, b64decode(pair)) == ("Basic", b"user:p@ss:word")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:3128",
        "socks5://proxy:1080",
        "https://user:hush@proxy:3128",
        "http://user:hush@proxy:99999",
        "http://user:hush@proxy/path",
        "http://user:hu%0ash@proxy",
        "http://us%3Aer:hush@proxy",
        "http://:hush@",
    ],
)
def test_an_unusable_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        ProxyAddress.parse(url)
    assert "hush" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_refused(url: str) -> None:
    problems = egress_proxy_problems(url, [])
    assert len(problems) <= 1


@pytest.mark.parametrize(
    ("entries", "host", "port", "direct"),
    [
        ("example.com", "example.com", 443, True),
        ("example.com", "hooks.example.com", 443, True),
        ("example.com", "Hooks.Example.COM.", 443, True),
        ("example.com", "badexample.com", 443, False),
        (".example.com", "example.com", 443, True),
        ("*.example.com", "a.example.com", 443, True),
        ("example.com:8443", "example.com", 8443, True),
        ("example.com:8443", "example.com", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 80, True),
        ("10.0.0.0/8", "11.1.2.3", 80, False),
        ("192.0.2.1", "192.0.2.1", 80, True),
        ("192.0.2.1:81", "192.0.2.1", 80, False),
        ("::1", "::1", 80, True),
        ("[::1]:81", "::1", 81, True),
        ("fd00::/8", "fd12::1", 80, True),
        ("*", "anything.example", 80, True),
        ("", "anything.example", 80, False),
        (" a.example , b.example ", "b.example", 80, True),
    ],
)
def test_exceptions_are_those_of_no_proxy(entries: str, host: str, port: int, direct: bool) -> None:
    assert ProxyExceptions(entries.split(",")).cover(host, port) is direct


def test_exceptions_are_checked_and_bounded() -> None:
    assert egress_proxy_problems(None, ["a b"]) == ["EGRESS_NO_PROXY: 'a b' is no host name, address or network"]
    many = [f"h{number}.example" for number in range(MAX_EXCEPTIONS + 1)]
    assert egress_proxy_problems(None, many) == [f"EGRESS_NO_PROXY: at most {MAX_EXCEPTIONS} entries"]
