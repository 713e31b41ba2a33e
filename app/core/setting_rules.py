"""Problems of the values of settings; each one begins with the setting's name without its prefix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_network

from app.core.secret_text import SecretText

_TOKEN_CHARACTERS = 20
_VARIETY = 8
#: what a header may carry
_TOKEN = re.compile(r"[!-~]+")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")


def operator_token_problems(admin_token: SecretText | None) -> list[str]:
    """Problems of ADMIN_TOKEN."""
    token = admin_token.reveal() if admin_token is not None else None
    if token is None or (len(token) >= _TOKEN_CHARACTERS and len(set(token)) >= _VARIETY and _TOKEN.fullmatch(token)):
        return []
    return [
        f"ADMIN_TOKEN: at least {_TOKEN_CHARACTERS} characters without spaces, {_VARIETY} of them different, "
        "such as `openssl rand -hex 24` prints: who guesses it can make keys for every tenant"
    ]


def origin_problems(portal_origins: Sequence[str], public_url: str | None) -> list[str]:
    """Problems of PORTAL_ORIGINS and PUBLIC_URL."""
    problems = [
        f"PORTAL_ORIGINS: {origin!r} is not an origin such as https://app.example.com"
        for origin in portal_origins
        if not _ORIGIN.fullmatch(origin)
    ]
    if public_url is not None and not _ORIGIN.fullmatch(public_url):
        problems.append("PUBLIC_URL: scheme and host alone, such as https://hooks.example.com")
    return problems


def database_problems(database_url: SecretText | None) -> list[str]:
    """Problems of DATABASE_URL."""
    url = database_url.reveal() if database_url else "sqlite:///"
    if url.startswith(("postgresql://", "postgres://", "sqlite:///")):
        return []
    return ["DATABASE_URL: postgresql://user:password@host:port/database, or sqlite:///path"]


def egress_problems(ports: Sequence[str], networks: Sequence[str]) -> list[str]:
    """Problems of EGRESS_PORTS and EGRESS_ALLOW."""
    problems = [
        f"EGRESS_PORTS: {port!r} is not a port"
        for port in ports
        if not (port.isascii() and port.isdigit() and len(port) < 6 and 1 <= int(port) <= 65535)
    ]
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            problems.append(f"EGRESS_ALLOW: {error}")
    return problems
