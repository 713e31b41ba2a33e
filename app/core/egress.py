"""Which destinations a request may have: classifies addresses and checks endpoint URLs before anything is sent.

The rules:

- An address is refused unless it is public unicast or the operator's allow list covers it.
- An address that embeds another one (IPv4-mapped, NAT64, 6to4, Teredo, IPv4-compatible) is classified by that one.
- Metadata services give credentials to any client. They are allowed only by an entry for exactly that address, not by
  a network.
- `check_url` is advice for the user who enters the URL. Requests are protected by `classify` on the address that a
  socket is about to connect to, because a name may resolve to another address a second later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import idna
import msgspec

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


class AddressVerdict(Enum):
    """The class of an address; the value completes the sentence "The address …"."""

    PUBLIC = "is public"
    ALLOWED = "is allowed by the operator"
    PRIVATE = "belongs to a private network"
    UNIQUE_LOCAL = "belongs to a private IPv6 network (unique local)"
    SITE_LOCAL = "belongs to a private IPv6 network (site-local)"
    LOOPBACK = "is this machine itself (loopback)"
    LINK_LOCAL = "reaches only the local link"
    CARRIER_NAT = "belongs to a provider's inner network (carrier-grade NAT)"
    MULTICAST = "is a multicast group, not one receiver"
    UNSPECIFIED = "is the unspecified network, which means this machine"
    BROADCAST = "is the broadcast address"
    METADATA = "is a cloud metadata service"
    DOCUMENTATION = "is reserved for documentation"
    BENCHMARK = "is reserved for benchmarks"
    LOCAL_TRANSLATION = "is a local NAT64 translation, which may lead anywhere"
    RESERVED = "is reserved and not routed"
    MALFORMED = "is not an IP address"

    @property
    def permitted(self) -> bool:
        """Whether a connection may be opened."""
        return self is AddressVerdict.PUBLIC or self is AddressVerdict.ALLOWED


#: Ports of mail, chat and login servers: a POST to them is an attack on the server, not a webhook.
ABUSED_PORTS = frozenset({19, 21, 22, 23, 25, 110, 143, 465, 587, 993, 995, 6667, 6697})

MAX_URL_LENGTH = 2048


class EgressPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's settings for outgoing requests."""

    #: networks that are allowed although they are not public (HOOKSTREAM_EGRESS_ALLOW)
    allow: tuple[IpNetwork, ...] = ()
    #: whether `http://` endpoints are accepted
    allow_http: bool = False
    #: the only ports that are accepted; None means all except `ABUSED_PORTS`
    ports: frozenset[int] | None = None

    @staticmethod
    def networks(cidrs: Iterable[str]) -> tuple[IpNetwork, ...]:
        """The networks of CIDRs or single addresses. Raises `ValueError` naming the first invalid one."""
        return tuple(ip_network(cidr.strip()) for cidr in cidrs)


_METADATA = frozenset(
    ip_address(each)
    for each in (
        "169.254.169.254",  # AWS, Azure, Google Cloud, DigitalOcean and most others
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",  # Google Cloud
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "168.63.129.16",  # Azure's platform address, inside public space
    )
)

# The first network that contains the address decides. All other addresses are public.
_V4: tuple[tuple[IpNetwork, AddressVerdict], ...] = tuple(
    (IPv4Network(cidr), verdict)
    for cidr, verdict in (
        ("0.0.0.0/8", AddressVerdict.UNSPECIFIED),
        ("10.0.0.0/8", AddressVerdict.PRIVATE),
        ("100.64.0.0/10", AddressVerdict.CARRIER_NAT),
        ("127.0.0.0/8", AddressVerdict.LOOPBACK),
        ("169.254.0.0/16", AddressVerdict.LINK_LOCAL),
        ("172.16.0.0/12", AddressVerdict.PRIVATE),
        ("192.0.0.0/24", AddressVerdict.RESERVED),
        ("192.0.2.0/24", AddressVerdict.DOCUMENTATION),
        ("192.88.99.0/24", AddressVerdict.RESERVED),  # the retired 6to4 relay anycast
        ("192.168.0.0/16", AddressVerdict.PRIVATE),
        ("198.18.0.0/15", AddressVerdict.BENCHMARK),
        ("198.51.100.0/24", AddressVerdict.DOCUMENTATION),
        ("203.0.113.0/24", AddressVerdict.DOCUMENTATION),
        ("224.0.0.0/4", AddressVerdict.MULTICAST),
        ("255.255.255.255/32", AddressVerdict.BROADCAST),
        ("240.0.0.0/4", AddressVerdict.RESERVED),
    )
)
_V6: tuple[tuple[IpNetwork, AddressVerdict], ...] = tuple(
    (IPv6Network(cidr), verdict)
    for cidr, verdict in (
        ("::/128", AddressVerdict.UNSPECIFIED),
        ("::1/128", AddressVerdict.LOOPBACK),
        ("64:ff9b:1::/48", AddressVerdict.LOCAL_TRANSLATION),
        ("fc00::/7", AddressVerdict.UNIQUE_LOCAL),
        ("fe80::/10", AddressVerdict.LINK_LOCAL),
        ("fec0::/10", AddressVerdict.SITE_LOCAL),
        ("ff00::/8", AddressVerdict.MULTICAST),
        ("2001:db8::/32", AddressVerdict.DOCUMENTATION),
        ("3fff::/20", AddressVerdict.DOCUMENTATION),
        ("2001:2::/48", AddressVerdict.BENCHMARK),
        ("2001::/23", AddressVerdict.RESERVED),  # protocol assignments (ORCHID and others)
        ("::/3", AddressVerdict.RESERVED),  # only 2000::/3 is global unicast
        ("4000::/2", AddressVerdict.RESERVED),
        ("8000::/1", AddressVerdict.RESERVED),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


def classify(ip: str | IpAddress, policy: EgressPolicy) -> AddressVerdict:
    """Classify an address, and so whether a connection to it may be opened. Never raises."""
    try:
        address = ip_address(ip)
    except ValueError:
        return AddressVerdict.MALFORMED
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        address = IPv6Address(int(address))  # the zone names an interface, not a destination
    if address in _METADATA:
        named = any(network.num_addresses == 1 and address in network for network in policy.allow)
        return AddressVerdict.ALLOWED if named else AddressVerdict.METADATA
    carried = [classify(each, policy) for each in _carried(address)]
    if AddressVerdict.METADATA in carried:
        return AddressVerdict.METADATA
    if any(address in network for network in policy.allow):
        return AddressVerdict.ALLOWED
    if carried:
        return next((verdict for verdict in carried if not verdict.permitted), carried[0])
    return _look_up(address)


def check_url(url: str, policy: EgressPolicy) -> str | None:
    """Why an endpoint URL is refused, as one sentence for the user who entered it; None if it is accepted.

    An IP address in the URL is classified; a name is classified when it is resolved for a request.
    """
    if len(url) > MAX_URL_LENGTH:
        return f"The URL is longer than {MAX_URL_LENGTH} characters."
    international = _international(url)
    if international is not None:
        return international
    if not _CHARACTERS.fullmatch(url):
        return "The URL has a space, a control character or another character that has to be percent-encoded."
    parts = _URL.fullmatch(url)
    if parts is None:
        return "The URL is not of the form https://host/path."
    scheme, authority, fragment = parts["scheme"].lower(), parts["authority"], parts["fragment"]
    if scheme != "https" and not (scheme == "http" and policy.allow_http):
        return f"The URL must start with {'http:// or ' if policy.allow_http else ''}https://."
    if fragment is not None:
        return "The URL has a fragment (#…), which is never sent."
    if "@" in authority:
        return "The URL has a user name or password before the host; use a custom header instead."
    place = _AUTHORITY.fullmatch(authority)
    if place is None:
        return "The URL has no valid host."
    default = 443 if scheme == "https" else 80
    return _check_port(place["port"], default, policy) or _check_host(place["literal"], place["host"], policy)


def _international(url: str) -> str | None:
    """A sentence about a host with non-ASCII letters, with its form in IDNA 2008; None: the host is ASCII."""
    parts = _URL.fullmatch(url)
    host = parts["authority"].rpartition("@")[2].partition(":")[0] if parts else ""
    if host.isascii():
        return None
    try:
        return f"The host {host} is international: write it as {idna.encode(host, uts46=True).decode()}."
    except idna.IDNAError as error:
        return f"The host {host[:100]} is not a valid international name: {str(error)[:200].rstrip('.')}."


_CHARACTERS = re.compile(r"[!#-;=?-\[\]_a-z{|}~]*")
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)[^#]*(?P<fragment>#.*)?")
_AUTHORITY = re.compile(r"(?:\[(?P<literal>[^\[\]]*)\]|(?P<host>[^\[\]:]+))(?P<port>:[0-9]*)?")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\.?$){_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER_AT_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")


def _carried(address: IpAddress) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses embedded in an IPv6 address: traffic to it ends at, or passes through, them."""
    if isinstance(address, IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return ()


def _look_up(address: IpAddress) -> AddressVerdict:
    table = _V4 if isinstance(address, IPv4Address) else _V6
    verdict = next((each for network, each in table if address in network), AddressVerdict.PUBLIC)
    if verdict is AddressVerdict.RESERVED and address in _COMPATIBLE:
        inner = _look_up(IPv4Address(int(address)))  # ::a.b.c.d is not routed: classify the embedded address
        return verdict if inner is AddressVerdict.PUBLIC else inner
    return verdict


def _check_port(text: str | None, default: int, policy: EgressPolicy) -> str | None:
    digits = text[1:] if text is not None else str(default)
    if not digits or len(digits) > 5 or not 1 <= int(digits) <= 65535:
        return "The URL's port is not a number from 1 to 65535."
    port = int(digits)
    if policy.ports is not None:
        return None if port in policy.ports else f"Port {port} is not allowed."
    return f"Port {port} belongs to another protocol than HTTP." if port in ABUSED_PORTS else None


def _check_host(literal: str | None, host: str | None, policy: EgressPolicy) -> str | None:
    if literal is not None:
        return _check_literal(literal, policy, version=6)
    assert host is not None
    name = host.lower()
    if _NUMBER_AT_END.fullmatch(name):
        return _check_literal(name, policy, version=4)
    if not _NAME.fullmatch(name):
        return f"{host} is not a valid host name."
    return None


def _check_literal(text: str, policy: EgressPolicy, *, version: int) -> str | None:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version or "%" in text:
        return f"{text} is not an IP address in its usual form (such as 192.0.2.7 or [2001:db8::7])."
    verdict = classify(address, policy)
    return None if verdict.permitted else f"The address {text} {verdict.value}."
