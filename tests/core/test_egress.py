"""Every kind of address and URL that must or must not be reached, by name."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.egress import MAX_URL_LENGTH, AddressVerdict, EgressPolicy, check_url, classify

V = AddressVerdict
STRICT = EgressPolicy()

ADDRESSES: tuple[tuple[str, str, AddressVerdict], ...] = (
    ("a public resolver", "8.8.8.8", V.PUBLIC),
    ("just below the private ten", "9.255.255.255", V.PUBLIC),
    ("just above the private ten", "11.0.0.0", V.PUBLIC),
    ("just below the provider's network", "100.63.255.255", V.PUBLIC),
    ("just above the provider's network", "100.128.0.0", V.PUBLIC),
    ("just above 172.16/12", "172.32.0.1", V.PUBLIC),
    ("just below multicast", "223.255.255.255", V.PUBLIC),
    ("public IPv6", "2606:4700:4700::1111", V.PUBLIC),
    ("public IPv6 beside documentation", "2001:db9::1", V.PUBLIC),
    ("unspecified", "0.0.0.0", V.UNSPECIFIED),
    ("this network", "0.1.2.3", V.UNSPECIFIED),
    ("unspecified IPv6", "::", V.UNSPECIFIED),
    ("ten", "10.0.0.1", V.PRIVATE),
    ("172.16", "172.16.0.1", V.PRIVATE),
    ("end of 172.16/12", "172.31.255.255", V.PRIVATE),
    ("192.168", "192.168.1.1", V.PRIVATE),
    ("provider's network", "100.64.0.1", V.CARRIER_NAT),
    ("end of the provider's network", "100.127.255.255", V.CARRIER_NAT),
    ("loopback", "127.0.0.1", V.LOOPBACK),
    ("far loopback", "127.255.255.254", V.LOOPBACK),
    ("loopback IPv6", "::1", V.LOOPBACK),
    ("link-local", "169.254.1.1", V.LINK_LOCAL),
    ("link-local IPv6", "fe80::1", V.LINK_LOCAL),
    ("link-local IPv6 with its zone", "fe80::1%eth0", V.LINK_LOCAL),
    ("end of link-local IPv6", "febf:ffff::1", V.LINK_LOCAL),
    ("site-local", "fec0::1", V.SITE_LOCAL),
    ("unique local fc", "fc00::1", V.UNIQUE_LOCAL),
    ("unique local fd", "fdff:ffff::1", V.UNIQUE_LOCAL),
    ("metadata of most clouds", "169.254.169.254", V.METADATA),
    ("metadata of ECS tasks", "169.254.170.2", V.METADATA),
    ("metadata of EKS pods", "169.254.170.23", V.METADATA),
    ("metadata of AWS, IPv6", "fd00:ec2::254", V.METADATA),
    ("metadata of Google, IPv6", "fd20:ce::254", V.METADATA),
    ("metadata of Alibaba", "100.100.100.200", V.METADATA),
    ("metadata of Oracle", "192.0.0.192", V.METADATA),
    ("Azure's platform address", "168.63.129.16", V.METADATA),
    ("mapped metadata", "::ffff:169.254.169.254", V.METADATA),
    ("NAT64 metadata", "64:ff9b::169.254.169.254", V.METADATA),
    ("protocol assignments", "192.0.0.8", V.RESERVED),
    ("retired 6to4 relay", "192.88.99.1", V.RESERVED),
    ("documentation 1", "192.0.2.1", V.DOCUMENTATION),
    ("documentation 2", "198.51.100.7", V.DOCUMENTATION),
    ("documentation 3", "203.0.113.255", V.DOCUMENTATION),
    ("documentation IPv6", "2001:db8::1", V.DOCUMENTATION),
    ("new documentation IPv6", "3fff:fff::1", V.DOCUMENTATION),
    ("benchmark", "198.18.0.1", V.BENCHMARK),
    ("end of benchmark", "198.19.255.255", V.BENCHMARK),
    ("benchmark IPv6", "2001:2::1", V.BENCHMARK),
    ("multicast", "224.0.0.1", V.MULTICAST),
    ("multicast IPv6", "ff02::1", V.MULTICAST),
    ("global multicast IPv6", "ff0e::1", V.MULTICAST),
    ("class E", "240.0.0.1", V.RESERVED),
    ("broadcast", "255.255.255.255", V.BROADCAST),
    ("mapped loopback", "::ffff:127.0.0.1", V.LOOPBACK),
    ("mapped loopback in hex", "::ffff:7f00:1", V.LOOPBACK),
    ("mapped private", "::ffff:10.0.0.1", V.PRIVATE),
    ("mapped public", "::ffff:8.8.8.8", V.PUBLIC),
    ("compatible loopback", "::127.0.0.1", V.LOOPBACK),
    ("compatible public: nobody routes it", "::8.8.8.8", V.RESERVED),
    ("NAT64 loopback", "64:ff9b::7f00:1", V.LOOPBACK),
    ("NAT64 private", "64:ff9b::10.0.0.1", V.PRIVATE),
    ("NAT64 public", "64:ff9b::8.8.8.8", V.PUBLIC),
    ("NAT64 of a local prefix", "64:ff9b:1::8.8.8.8", V.LOCAL_TRANSLATION),
    ("6to4 loopback", "2002:7f00:1::", V.LOOPBACK),
    ("6to4 private", "2002:c0a8:101::1", V.PRIVATE),
    ("6to4 public", "2002:808:808::1", V.PUBLIC),
    ("Teredo towards loopback", "2001:0:808:808::80ff:fffe", V.LOOPBACK),
    ("Teredo through a private server", "2001:0:a00:1::f7f7:f7f7", V.PRIVATE),
    ("ORCHID", "2001:10::1", V.RESERVED),
    ("discard", "100::1", V.RESERVED),
    ("segment routing", "5f00::1", V.RESERVED),
    ("never assigned", "4000::1", V.RESERVED),
    ("a name", "localhost", V.MALFORMED),
    ("leading zeros", "127.0.0.01", V.MALFORMED),
    ("nothing", "", V.MALFORMED),
)


@pytest.mark.parametrize(("address", "verdict"), [pytest.param(a, v, id=name) for name, a, v in ADDRESSES])
def test_an_address_is_named_for_what_it_is(address: str, verdict: AddressVerdict) -> None:
    assert classify(address, STRICT) is verdict


def _allowing(*cidrs: str) -> EgressPolicy:
    return EgressPolicy(allow=EgressPolicy.networks(cidrs))


@pytest.mark.parametrize(
    ("address", "cidrs", "verdict"),
    [
        ("127.0.0.1", ["127.0.0.0/8"], V.ALLOWED),
        ("::ffff:127.0.0.1", ["127.0.0.0/8"], V.ALLOWED),
        ("::1", ["127.0.0.0/8"], V.LOOPBACK),
        ("10.1.2.3", ["10.0.0.0/16", "10.1.0.0/16"], V.ALLOWED),
        ("10.2.0.1", ["10.1.0.0/16"], V.PRIVATE),
        ("8.8.8.8", ["10.0.0.0/8"], V.PUBLIC),
        ("64:ff9b:1::10.0.0.1", ["64:ff9b:1::/48"], V.ALLOWED),
        ("169.254.169.254", ["0.0.0.0/0"], V.METADATA),
        ("::ffff:169.254.169.254", ["::/0"], V.METADATA),
        ("::ffff:10.0.0.1", ["::/0"], V.ALLOWED),
        ("169.254.169.254", ["169.254.169.254"], V.ALLOWED),
    ],
)
def test_the_operator_allows_networks_and_metadata_only_by_name(
    address: str, cidrs: list[str], verdict: AddressVerdict
) -> None:
    assert classify(address, _allowing(*cidrs)) is verdict


@given(st.integers(0, 2**32 - 1))
def test_wrapping_never_opens_an_address(number: int) -> None:
    inner = IPv4Address(number)
    plain = classify(inner, STRICT)
    assert classify(IPv6Address(f"::ffff:{inner}"), STRICT) is plain
    assert classify(IPv6Address(f"64:ff9b::{inner}"), STRICT) is plain
    assert classify(IPv6Address((0x2002 << 112) | (number << 80)), STRICT) is plain
    assert not classify(IPv6Address(number), STRICT).permitted


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_refused(address: IPv4Address | IPv6Address) -> None:
    verdict = classify(address, STRICT)
    assert classify(str(address), STRICT) is verdict
    if not address.is_global and not _carries(address):
        assert not verdict.permitted


def _carries(address: IPv4Address | IPv6Address) -> bool:
    return isinstance(address, IPv6Address) and bool(address.ipv4_mapped or address.sixtofour or address.teredo)


ACCEPTED = (
    "https://example.com",
    "https://example.com/",
    "HTTPS://Example.COM/Hook?x=1&y=%20",
    "https://example.com:8443/hook",
    "https://example.com./hook",
    "https://xn--bcher-kva.example/hook",
    "https://under_score.example.com/hook",
    "https://8.8.8.8/hook",
    "https://[2606:4700:4700::1111]:443/hook",
    "https://1.2.3.4.example.com/",
    "https://example.com/a@b?c=d:e/f",
    "https://svc/hook",
)


@pytest.mark.parametrize("url", ACCEPTED)
def test_a_good_url_is_accepted(url: str) -> None:
    assert check_url(url, STRICT) is None


REFUSED: tuple[tuple[str, str, str], ...] = (
    ("plain http", "http://example.com/", "must start with https://"),
    ("another scheme", "ftp://example.com/", "must start with https://"),
    ("no scheme", "example.com/hook", "not of the form"),
    ("a file", "file:///etc/passwd", "must start with https://"),
    ("empty", "", "not of the form"),
    ("no host", "https:///hook", "no valid host"),
    ("only a port", "https://:443/hook", "no valid host"),
    ("user name", "https://user@example.com/", "user name"),
    ("user name and password", "https://user:pw@example.com/", "user name"),
    ("fragment", "https://example.com/#x", "fragment"),
    ("empty fragment", "https://example.com/#", "fragment"),
    ("port 0", "https://example.com:0/", "port"),
    ("port 65536", "https://example.com:65536/", "port"),
    ("empty port", "https://example.com:/", "port"),
    ("a word as port", "https://example.com:http/", "no valid host"),
    ("mail port", "https://example.com:25/", "another protocol"),
    ("space", "https://example.com/a b", "percent-encoded"),
    ("line break", "https://example.com/\r\nx: y", "percent-encoded"),
    ("tab in the scheme", "ht\ttps://example.com/", "percent-encoded"),
    ("nul", "https://example.com/\0", "percent-encoded"),
    ("trailing line break", "https://example.com/\n", "percent-encoded"),
    ("backslash", "https://example.com\\@127.0.0.1/", "percent-encoded"),
    ("letters beyond ASCII", "https://Bücher.example:8443/x", "write it as xn--bcher-kva.example."),
    ("German sharp s", "https://faß.example/", "write it as xn--fa-hia.example."),
    ("no letters at all", "https://☃.example/", "not a valid international name"),
    ("a long one", f"https://{'ü' * 64}.example/", "not a valid international name"),
    ("digits in circles", "https://①②⑦.⓪.⓪.①/", "write it as 127.0.0.1."),
    ("letters beyond ASCII in the path", "https://example.com/bücher", "percent-encoded"),
    ("percent in the host", "https://127.0.0.%31/", "not a valid host name"),
    ("empty label", "https://a..example.com/", "not a valid host name"),
    ("hyphen first", "https://-a.example.com/", "not a valid host name"),
    ("long label", f"https://{'a' * 64}.example.com/", "not a valid host name"),
    ("loopback", "https://127.0.0.1/", "this machine itself"),
    ("metadata", "https://169.254.169.254/latest", "metadata"),
    ("private IPv6", "https://[fd00::1]/", "private IPv6"),
    ("mapped loopback", "https://[::ffff:127.0.0.1]/", "this machine itself"),
    ("zone", "https://[fe80::1%25eth0]/", "usual form"),
    ("brackets around IPv4", "https://[8.8.8.8]/", "usual form"),
    ("nothing in brackets", "https://[]/", "usual form"),
    ("decimal", "https://2130706433/", "usual form"),
    ("public, but decimal", "https://134744072/", "usual form"),
    ("hex", "https://0x7f000001/", "usual form"),
    ("hex and short", "https://0x7f.1/", "usual form"),
    ("short", "https://127.1/", "usual form"),
    ("octal", "https://0177.0.0.1/", "usual form"),
    ("bare 0x", "https://127.0.0.0x/", "usual form"),
    ("dotted quad with a final dot", "https://127.0.0.1./", "usual form"),
    ("five numbers", "https://1.2.3.4.5/", "usual form"),
)


@pytest.mark.parametrize(("url", "reason"), [pytest.param(u, r, id=name) for name, u, r in REFUSED])
def test_a_bad_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    assert reason in str(check_url(url, STRICT))


def test_the_length_limit_is_exact() -> None:
    longest = "https://example.com/".ljust(MAX_URL_LENGTH, "a")
    assert check_url(longest, STRICT) is None
    assert "longer" in str(check_url(longest + "a", STRICT))


def test_the_operator_may_allow_http_ports_and_local_networks() -> None:
    local = EgressPolicy(allow=EgressPolicy.networks(["127.0.0.0/8", "::1"]), allow_http=True)
    assert check_url("http://127.0.0.1:8080/hook", local) is None
    assert check_url("http://[::1]:8080/hook", local) is None
    assert "usual form" in str(check_url("http://127.1:8080/hook", local))
    assert "http://" in str(check_url("ftp://127.0.0.1/", local))


@pytest.mark.parametrize(
    ("url", "ports", "fine"),
    [
        ("https://example.com/", {443}, True),
        ("https://example.com/", {8443}, False),
        ("http://example.com/", {443}, False),
        ("http://example.com/", {80}, True),
        ("https://example.com:8443/", {443}, False),
        ("https://example.com:25/", {25}, True),
    ],
)
def test_given_ports_are_the_only_ones(url: str, ports: set[int], fine: bool) -> None:
    policy = EgressPolicy(allow_http=True, ports=frozenset(ports))
    assert (check_url(url, policy) is None) is fine


@given(st.text(max_size=80))
def test_any_text_gets_an_answer(text: str) -> None:
    reason = check_url(f"https://{text}", STRICT)
    assert reason is None or reason.endswith(".")


def test_a_wrong_network_is_reported() -> None:
    with pytest.raises(ValueError, match=r"300\.0\.0\.0"):
        EgressPolicy.networks(["127.0.0.1", "300.0.0.0/8"])


def test_every_verdict_says_what_the_address_is() -> None:
    assert all(verdict.value.split()[0] in {"is", "belongs", "reaches"} for verdict in V)
    assert {verdict for verdict in V if verdict.permitted} == {V.PUBLIC, V.ALLOWED}
    assert {verdict for _, _, verdict in ADDRESSES} == set(V) - {V.ALLOWED}
