"""Host names: their registrable domains, which share a limit on DNS lookups, and addresses of name servers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address

_SERVER = re.compile(r"\[(?P<v6>[^\]]+)\](?::(?P<port6>[0-9]{1,5}))?|(?P<v4>[0-9.]+)(?::(?P<port4>[0-9]{1,5}))?")


def share_of(host: str) -> str:
    """The registrable domain, without a list of public suffixes: the last two labels, or three under `co.uk` etc.

    It is used only for the limit on lookups. Under a public suffix that the rule does not recognise (such as
    `github.io`) all customers of one provider share one limit; they share its name servers anyway.
    """
    labels = host.lower().rstrip(".").split(".")
    short = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3:] if short else labels[-2:])


def name_server_problems(servers: Iterable[str]) -> list[str]:
    """A sentence for each entry that is not the address of a name server."""
    form = "is not an address, or address:port such as 10.0.0.2:53 or [fd00::2]:53"
    return [f"{server!r} {form}" for server in servers if not is_name_server(server)]


def is_name_server(text: str) -> bool:
    """Whether `text` is an IP address, or address:port."""
    parts = _SERVER.fullmatch(text)
    host, port = (parts["v6"] or parts["v4"], parts["port6"] or parts["port4"]) if parts else (text, None)
    try:
        ip_address(host)
    except ValueError:
        return False
    return port is None or 1 <= int(port) <= 65535
