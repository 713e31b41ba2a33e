"""The rules for endpoints, tenants, keys and event types: one sentence for each problem.

The target of a URL (private networks, ports) is checked by core/egress.py with the operator's policy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from app.core import limits
from app.core.directory import INSTALLATION
from app.core.email import is_address
from app.core.model.endpoint import Endpoint, SigningKey
from app.core.model.endpoint_kind import kind_problems
from app.core.model.endpoint_settings import NAMES, RULES, EndpointSettings
from app.core.model.event_types import EventType, is_event_type
from app.core.model.receiver_auth import MASK, MutualTls, auth_conflict, secret_in
from app.core.model.shape_problems import shape_problems
from app.core.model.tenant import ApiKey, Brand, Tenant
from app.core.transforms.included_fields import path_problems

#: not `.` or `..`, which clients remove from paths
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,128}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_OF_MESSAGE_SIGNATURES = frozenset({"content-digest", "signature", "signature-input"})
_PUBLIC_KEY = re.compile(r"whpk_[A-Za-z0-9+/]{43}=")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
#: characters of a sealed secret at most: base64 of its UTF-8 with nonce and tag
_SEALED = 2048
#: bytes by which a sealed value is longer than its text: nonce, tag, and up to two of padding
_SEAL_BYTES = 30
#: it becomes part of a Content-Security-Policy, so the form is strict
_LOGO = re.compile(
    r"https://[a-z0-9.-]{1,253}(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]{0,1024})?"
    r"|data:image/(png|jpeg|webp|svg\+xml);base64,[A-Za-z0-9+/=]{1,32768}"
)


def endpoint_problems(endpoint: Endpoint, profiles: Collection[str]) -> list[str]:
    """All problems of an endpoint."""
    values = {name: getattr(endpoint, name) for name in NAMES}
    return [
        *_identity(endpoint, profiles),
        *settings_problems(values),
        *kind_problems(values),
        *_envelope_problems(endpoint),
    ]


def tenant_problems(tenant: Tenant, profiles: Collection[str]) -> list[str]:
    """All problems of a tenant."""
    problems = []
    if len(tenant.name) > limits.NAME:
        problems.append(f"name: at most {limits.NAME} characters")
    if len(tenant.notify_emails) > limits.ADDRESSES:
        return [f"notify_emails: at most {limits.ADDRESSES}"]
    if not _ID.fullmatch(tenant.id):
        problems.append(f"tenant id {tenant.id[:80]!r}: 1 to 128 of letters, digits, _, . and -")
    if tenant.profile not in profiles:
        problems.append(_unknown_profile(tenant.profile, profiles))
    for address in tenant.notify_emails:
        if not is_address(address):
            problems.append(f"notify_emails: {address[:80]!r} is not an e-mail address")
    problems += [f"metadata: {sentence}" for sentence in _metadata_problems(tenant.metadata)]
    problems += _privacy_problems(tenant)
    return problems + (_brand_problems(tenant.brand) if tenant.brand else [])


def _privacy_problems(tenant: Tenant) -> Iterator[str]:
    least, most = limits.TENANT_RETENTION
    if tenant.retention_days is not None and not least <= tenant.retention_days <= most:
        yield f"retention_days: {least} to {most}"
    if len(tenant.redact) > limits.REDACTED:
        yield f"redact: at most {limits.REDACTED} paths"
    elif any(len(path) > limits.INCLUDED_PATH for path in tenant.redact):
        yield f"redact: paths have at most {limits.INCLUDED_PATH} characters"
    else:
        yield from (f"redact: {sentence}" for sentence in path_problems(tenant.redact or None))


def _metadata_problems(metadata: Mapping[str, str]) -> Iterator[str]:
    if len(metadata) > limits.METADATA:
        yield f"at most {limits.METADATA} entries"
    elif any(
        len(name) > limits.METADATA_NAME or len(value) > limits.METADATA_VALUE for name, value in metadata.items()
    ):
        yield f"names have at most {limits.METADATA_NAME} characters, values at most {limits.METADATA_VALUE}"


def _brand_problems(brand: Brand) -> list[str]:
    problems = []
    if len(brand.name) > limits.BRAND_NAME:
        problems.append(f"brand: a name has at most {limits.BRAND_NAME} characters")
    if brand.color and not _COLOR.fullmatch(brand.color):
        problems.append("brand: a color is #rrggbb")
    if brand.logo and not _LOGO.fullmatch(brand.logo):
        problems.append("brand: a logo is https://… or data:image/(png|jpeg|webp|svg+xml);base64,…, at most 32 KiB")
    return problems


def key_problems(key: ApiKey) -> list[str]:
    """All problems of a key of the API."""
    problems = []
    if not _ID.fullmatch(key.id) or not _ID.fullmatch(key.tenant):
        problems.append("id and tenant: 1 to 128 of letters, digits, _, . and -")
    if not _DIGEST.fullmatch(key.digest) or len(key.last4) > 4:
        problems.append("digest: 64 hexadecimal digits, and at most 4 characters of the key")
    if len(key.name) > limits.NAME:
        problems.append(f"name: at most {limits.NAME} characters")
    if not 1 <= len(key.scopes) <= limits.SCOPES:
        problems.append("scopes: at least one of read, write and pull, each once")
    return problems


def event_type_problems(event_type: EventType) -> list[str]:
    """All problems of an event type; its schema is checked where it is compiled."""
    problems = []
    of_installation = (event_type.tenant, event_type.mode) == INSTALLATION
    if not of_installation and not (_ID.fullmatch(event_type.tenant) and event_type.mode):
        problems.append(f"tenant id {event_type.tenant[:80]!r}: 1 to 128 of letters, digits, _, . and -")
    if not is_event_type(event_type.name):
        problems.append(f"name {event_type.name[:80]!r}: dot-joined segments of letters, digits, _ and -")
    if len(event_type.description) > limits.DESCRIPTION:
        problems.append(f"description: at most {limits.DESCRIPTION} characters")
    if len(event_type.schema or "") > limits.SCHEMA:
        problems.append(f"schema: at most {limits.SCHEMA} characters")
    if len(event_type.example or "") > limits.SCHEMA:
        problems.append(f"example: at most {limits.SCHEMA} characters")
    if event_type.enforce != "off" and event_type.schema is None:
        problems.append(f"mode: {event_type.enforce} needs a schema")
    return problems


def _identity(endpoint: Endpoint, profiles: Collection[str]) -> Iterator[str]:
    if not _ID.fullmatch(endpoint.id):
        yield f"id {endpoint.id[:80]!r}: 1 to 128 of letters, digits, _, . and -"
    if not _ID.fullmatch(endpoint.tenant):
        yield f"tenant {endpoint.tenant[:80]!r}: 1 to 128 of letters, digits, _, . and -"
    for name in (endpoint.profile, endpoint.signer):
        if name not in profiles:
            yield _unknown_profile(name, profiles)
            break
    if len(endpoint.status_reason or "") > limits.DESCRIPTION:
        yield f"status_reason: at most {limits.DESCRIPTION} characters"
    if endpoint.unverified is not None and endpoint.status == "active":
        yield "status: the endpoint is unverified: verify it first"
    if len(endpoint.secrets) > limits.SECRETS or any(
        len(each.blob) > _SEALED or len(each.key_id) > limits.ID for each in endpoint.secrets
    ):
        yield f"secrets: at most {limits.SECRETS}, each of at most {limits.SECRET} characters before it is sealed"
    yield from signing_key_problems(endpoint.signing_keys)
    if endpoint.signature_scheme == "rfc9421":
        for name in endpoint.headers:
            if name.lower() in _OF_MESSAGE_SIGNATURES:
                yield f"headers: {name} is set by the signature scheme rfc9421"
    yield from _sealed_headers(endpoint)
    yield from _sealed_auth(endpoint)


def _sealed_auth(endpoint: Endpoint) -> Iterator[str]:
    secret, sealed = secret_in(endpoint.auth), endpoint.sealed_auth
    if secret not in (None, MASK) or (secret is None) is not (sealed is None):
        yield "auth: its secret is stored sealed, and the setting shows a mask"
    if sealed is not None:
        most = limits.PRIVATE_KEY if isinstance(endpoint.auth, MutualTls) else limits.AUTH_SECRET
        if len(sealed.blob) * 3 // 4 - _SEAL_BYTES > 4 * most or len(sealed.key_id) > limits.ID:  # UTF-8
            yield f"auth: its secret has at most {most} characters"
    if isinstance(endpoint.auth, MutualTls) is (endpoint.auth_expires_at_ms is None):
        yield "auth: a client certificate is stored with the time at which it expires"
    conflict = auth_conflict(endpoint.auth, endpoint.headers, endpoint.url)
    if conflict is not None:
        yield f"auth: {conflict}"


def signing_key_problems(signing_keys: Collection[SigningKey]) -> Iterator[str]:
    """All problems of an endpoint's signing keys that are seen without opening them."""
    if len(signing_keys) > limits.SECRETS:
        yield f"signing_keys: at most {limits.SECRETS}"
    for each in signing_keys:
        if len(each.blob) > _SEALED or len(each.key_id) > limits.ID or not _PUBLIC_KEY.fullmatch(each.public):
            yield "signing_keys: each has a sealed private key, and whpk_ and the base64 of 32 bytes as public key"
            break


def _envelope_problems(endpoint: Endpoint) -> Iterator[str]:
    """Settings that contradict the endpoint's envelope."""
    if endpoint.envelope == "thin":
        for name in ("include_fields", "transform"):
            if getattr(endpoint, name) is not None:
                yield f"{name}: the envelope thin has no data"
    if endpoint.envelope == "cloudevents-binary":
        for name in endpoint.headers:
            if name.lower().startswith("ce-"):
                yield f"headers: {name} is set by the envelope cloudevents-binary"


def _sealed_headers(endpoint: Endpoint) -> Iterator[str]:
    sealed, headers = endpoint.sealed_headers, endpoint.headers
    if any(headers.get(name) != MASK for name in sealed) or len(sealed) > limits.HEADERS:
        yield "headers: a sealed value belongs to a header that shows a mask"
    size = sum(len(name) + len(value) for name, value in headers.items() if name not in sealed)
    for name, each in sealed.items():
        plain = len(each.blob) * 3 // 4 - _SEAL_BYTES
        size += len(name) + plain
        if plain > limits.HEADER_VALUE or len(each.key_id) > limits.ID:
            yield f"headers: the value of {name[:80]} has at most {limits.HEADER_VALUE} characters"
    if sealed and size > limits.HEADER_BYTES:
        yield f"headers: names and values have at most {limits.HEADER_BYTES} characters in all"


def settings_problems(values: Mapping[str, Any], kind: type[EndpointSettings] = EndpointSettings) -> Iterator[str]:
    """All problems of the settings in `values`, and of the other fields of `kind`."""
    misshapen = set()
    for pointer, sentence in shape_problems(values, kind):
        name = pointer.split("/")[1]
        misshapen.add(name)
        yield f"{name}: {sentence}"
    for name, rule in RULES.items():
        if name in values and name not in misshapen:
            for sentence in rule(values[name]):
                yield f"{name}{sentence}" if sentence.startswith("/") else f"{name}: {sentence}"


def _unknown_profile(name: str, profiles: Collection[str]) -> str:
    near = get_close_matches(name[: limits.ID], profiles, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"profile {name[:80]!r} is unknown{hint}: one of {', '.join(sorted(profiles))}"
