"""What the answers of name servers, receivers, the mail server, the database and the key ring mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from app.core.diagnosis.finding import DoctorFinding, Severity, listed
from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.receiver_auth import EXPIRES_NOW_MS, EXPIRES_SOON_MS
from app.core.model.timestamps import iso

#: receivers to which a connection is tried
ORIGINS = 16
_EXPIRY: tuple[tuple[int, Severity], ...] = ((EXPIRES_NOW_MS, "error"), (EXPIRES_SOON_MS, "warning"))
#: a single receiver may be down by itself
_SEVERAL = 2


class Connection(Struct, frozen=True, kw_only=True):
    """The result of a TCP connection to a receiver, without a request."""

    outcome: Literal["connected", "blocked", "failed"]
    #: one sentence; empty when connected
    reason: str = ""


def sampled_urls(endpoints: Iterable[Endpoint]) -> list[str]:
    """URLs of at most `ORIGINS` active endpoints with different hosts; those that work come first."""
    active = [each for each in endpoints if each.status == "active" and each.url]
    active.sort(key=lambda each: (each.failing_since_ms is not None or each.circuit is not None, each.id))
    by_host = {urlsplit(each.url).netloc.lower(): each.url for each in reversed(active)}
    first = dict.fromkeys(urlsplit(each.url).netloc.lower() for each in active)
    return [by_host[host] for host in islice(first, ORIGINS)]


def judge_names(answered: bool, servers: Sequence[str]) -> list[DoctorFinding]:
    """Name servers that do not answer."""
    if answered:
        return []
    return [
        DoctorFinding(
            check="dns",
            severity="error",
            problem=f"The name servers ({listed(servers) or 'those of /etc/resolv.conf'}) do not answer: no receiver "
            "with a name can be reached.",
            remedy="HOOKSTREAM_DNS_SERVERS, or allow UDP and TCP port 53 from here to them.",
        )
    ]


def judge_egress(connections: Mapping[str, Connection]) -> list[DoctorFinding]:
    """Egress is broken if none of the receivers can be reached; a single one may be down by itself."""
    if not connections or any(each.outcome == "connected" for each in connections.values()):
        return []
    blocked = [url for url, each in connections.items() if each.outcome == "blocked"]
    (reason, _), *_ = Counter(each.reason for each in connections.values()).most_common(1)
    several = len(connections) >= _SEVERAL
    return [
        DoctorFinding(
            check="egress",
            severity="error" if several or blocked else "warning",
            problem=f"No connection to any of {len(connections)} receivers: {reason}",
            remedy="HOOKSTREAM_EGRESS_ALLOW, if these networks are meant: it lists private networks in which endpoints "
            "are allowed."
            if len(blocked) == len(connections)
            else "Let this machine connect to public addresses (firewall, NetworkPolicy, NAT), or see "
            "`hookstream endpoints list` if only these receivers are down.",
        )
    ]


def judge_inputs(unmatched: Sequence[str], registry_problem: str | None) -> list[DoctorFinding]:
    """Topics that inputs read and that are not there, and a schema registry that cannot be used."""
    findings = []
    if registry_problem is not None:
        findings.append(
            DoctorFinding(
                check="inputs",
                severity="error",
                problem=f"{registry_problem[0].upper()}{registry_problem[1:]}: inputs with `format: confluent` wait.",
                remedy="HOOKSTREAM_SCHEMA_REGISTRY_URL, _USERNAME, _PASSWORD and _CA_FILE, or start the registry.",
            )
        )
    return findings + [
        DoctorFinding(
            check="inputs",
            severity="warning",
            problem=f"{sentence[0].upper()}{sentence[1:]}.",
            remedy="Create the topic, grant Describe and Read on it (`hookstream topics export --format acls`), or "
            "change HOOKSTREAM_INPUTS.",
        )
        for sentence in unmatched
    ]


def judge_mail(server: str, problem: str | None) -> list[DoctorFinding]:
    """A mail server that cannot be used."""
    if problem is None:
        return []
    return [
        DoctorFinding(
            check="smtp",
            severity="error",
            problem=f"The mail server {server} cannot be used: {problem}",
            remedy="HOOKSTREAM_SMTP_URL (host, port, user, password), and HOOKSTREAM_CA_FILE for a private authority.",
        )
    ]


def judge_schema(there: str | None, wanted: str, usable: bool) -> list[DoctorFinding]:
    """A database whose schema this version cannot use."""
    if usable:
        return []
    if there is None or there < wanted:
        state = "has no schema yet" if there is None else f"has the schema {there}, and this version needs {wanted}"
        return [
            DoctorFinding(
                check="database",
                severity="warning",
                problem=f"The read model {state}.",
                remedy="hookstream run projection (it migrates the database when it starts)",
            )
        ]
    return [
        DoctorFinding(
            check="database",
            severity="error",
            problem=f"The read model has the schema {there} of a newer version; this version has {wanted}.",
            remedy="Update this process, or drop the tables and start `hookstream run projection`.",
        )
    ]


def judge_certificates(endpoints: Iterable[Endpoint], now_ms: int) -> list[DoctorFinding]:
    """Client certificates of active endpoints that have expired or expire soon."""
    dated = [(each.auth_expires_at_ms, each.id) for each in endpoints if each.status == "active"]
    findings: list[DoctorFinding] = []
    for soon_ms, severity in _EXPIRY:
        expiring = sorted((at, id_) for at, id_ in dated if at is not None and at - now_ms <= soon_ms)
        if not expiring:
            continue
        dated = [each for each in dated if each not in expiring]
        first_ms, _ = expiring[0]
        findings.append(
            DoctorFinding(
                check="certificates",
                severity=severity,
                problem=f"Client certificates of {len(expiring)} endpoints ({listed([id_ for _, id_ in expiring])}) "
                f"expire within {soon_ms // 86_400_000} days or have expired; the first at {iso(first_ms)}.",
                remedy="Give these endpoints a new certificate: `hookstream endpoints update ID --auth @FILE`.",
            )
        )
    return findings


def judge_secrets(
    endpoints: Iterable[Endpoint], open_secret: Callable[[SealedSecret, str], str], now_ms: int
) -> list[DoctorFinding]:
    """Sealed values of endpoints that no key of the ring opens; secrets that have expired are ignored."""
    unopened: dict[str, str] = {}
    for endpoint in endpoints:
        for sealed in endpoint.sealed:
            if sealed.expires_at_ms is not None and sealed.expires_at_ms <= now_ms:
                continue
            try:
                open_secret(sealed, endpoint.secret_owner)
            except ConfigError:
                unopened.setdefault(endpoint.id, sealed.key_id)
    if not unopened:
        return []
    return [
        DoctorFinding(
            check="keys",
            severity="error",
            problem=f"No key of the ring opens the secrets of {len(unopened)} endpoints ({listed([*unopened])}); they "
            f"were sealed with {listed(sorted({*unopened.values()}))}. Their deliveries cannot be signed.",
            remedy="HOOKSTREAM_SECRET_KEYS: add the key that sealed them, the same ring for every process; if it is "
            "lost, `hookstream endpoints rotate-secret ID` sets a new secret.",
        )
    ]
