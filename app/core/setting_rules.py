"""Problems of the values of settings; each one begins with the setting's name without its prefix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from app.core.secret_text import SecretText

_TOKEN_CHARACTERS = 20
_VARIETY = 8
#: published source addresses: a portal page shows them all
MAX_EGRESS_IPS = 64
#: what a header may carry
_TOKEN = re.compile(r"[!-~]+")
_REGISTRY = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,253}(/[A-Za-z0-9._~/-]{0,200})?")
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


def api_problems(rate: int, rate_per_tenant: int, connections: int, connections_per_address: int) -> list[str]:
    """Problems of API_RATE_LIMIT, API_RATE_LIMIT_PER_TENANT, API_CONNECTIONS and API_CONNECTIONS_PER_ADDRESS."""
    problems = []
    if not 1 <= rate <= 1_000_000:
        problems.append("API_RATE_LIMIT: 1 to 1000000")
    if not 1 <= rate_per_tenant <= 10_000_000:
        problems.append("API_RATE_LIMIT_PER_TENANT: 1 to 10000000")
    if not 16 <= connections <= 1_000_000:
        problems.append("API_CONNECTIONS: 16 to 1000000")
    if not 0 <= connections_per_address <= connections:
        problems.append("API_CONNECTIONS_PER_ADDRESS: 0 to HOOKSTREAM_API_CONNECTIONS")
    return problems


def watchdog_problems(limits: Mapping[str, float], prefix: str) -> list[str]:
    """Problems of the settings WATCHDOG_…, given by their fields' names; `prefix` is that of all variables."""
    problems = [
        f"{name.upper()}: 0, or 1 to 86400"
        for name, value in limits.items()
        if not (value == 0 or 1 <= value <= 86_400)
    ]
    suspect, stuck = limits["watchdog_suspect_seconds"], limits["watchdog_stuck_seconds"]
    if stuck and not 0 < suspect < stuck:
        problems.append(
            f"WATCHDOG_STUCK_SECONDS: greater than {prefix}WATCHDOG_SUSPECT_SECONDS, which must not be 0 "
            "then: a process says that it is not ready before it ends"
        )
    return problems


def schema_registry_problems(url: str | None, username: str | None, password: SecretText | None) -> list[str]:
    """Problems of SCHEMA_REGISTRY_URL, SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD."""
    problems = []
    if url is not None and not _REGISTRY.fullmatch(url):
        problems.append("SCHEMA_REGISTRY_URL: http:// or https://, host, port and path, without a user")
    if (username is None) != (password is None):
        problems.append("SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD: both, or neither of them")
    if url is None and username is not None:
        problems.append("SCHEMA_REGISTRY_USERNAME: needs HOOKSTREAM_SCHEMA_REGISTRY_URL")
    return problems


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


def egress_problems(ports: Sequence[str], networks: Sequence[str], sources: Sequence[str]) -> list[str]:
    """Problems of EGRESS_PORTS, EGRESS_ALLOW and EGRESS_IPS."""
    problems = [
        f"EGRESS_PORTS: {port!r} is not a port"
        for port in ports
        if not (port.isascii() and port.isdigit() and len(port) < 6 and 1 <= int(port) <= 65535)
    ]
    if len(sources) > MAX_EGRESS_IPS:
        problems.append(f"EGRESS_IPS: at most {MAX_EGRESS_IPS}; join neighbours to networks")
    for name, listed in (("EGRESS_ALLOW", networks), ("EGRESS_IPS", sources[:MAX_EGRESS_IPS])):
        for network in listed:
            try:
                ip_network(network)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    return problems
