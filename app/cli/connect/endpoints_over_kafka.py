"""`hookstream endpoints` over Kafka: commands to the registry, without an API."""

from __future__ import annotations

import secrets as dice
from collections.abc import Collection
from typing import Any

import msgspec

from app.adapters.secrets.tokens import new_signing_secret
from app.cli.connect import process_context
from app.cli.connect.registry_session import RegistrySession, session
from app.core.errors import CommandRefused, ConfigError
from app.core.model.endpoint import Endpoint, SealedSecret, SigningKey
from app.core.model.endpoint_settings import RULES
from app.core.model.receiver_auth import MASK, NoAuth, ReceiverAuth, auth_problems
from app.core.model.sealed_auth import AuthVault, BadAuth, StoredAuth, stored_auth
from app.core.model.sensitive_headers import StoredHeaders, has_plain, is_sensitive, masked, stored
from app.core.model.shape_problems import in_words, shape_problems
from app.core.records.command import CreateEndpoint, RemoveEndpoint, UpdateEndpoint
from app.profiles.catalog import PROFILES

_INNER = {
    "epoch",
    "secrets",
    "signing_keys",
    "sealed_headers",
    "sealed_auth",
    "suspensions",
    "created_by",
    "rotated_by",
    "key_rotated_by",
    "request_origin",
}


async def create(fields: dict[str, Any], secret: str | None, *, unsigned: bool) -> dict[str, Any]:
    """Register an endpoint; `secret` is in the answer, and nowhere else."""
    async with session() as registry:
        tenant = registry.directory.tenants.get(fields["tenant"])
        if tenant is None and fields["tenant"] != "default":
            name = fields["tenant"]
            remedy = f"hookstream tenants add {name}, or another of hookstream tenants list"
            raise CommandRefused("not_found", f"there is no tenant {name}: {remedy}")
        chosen = fields.pop("profile", None) or (tenant.profile if tenant else "standard")
        plain = _secret(chosen, secret, unsigned)
        endpoint = _checked({"id": "ep_" + dice.token_hex(12), "profile": chosen, **fields})
        endpoint = _sealed(endpoint, plain, registry)
        headers = _stored_headers(endpoint.headers, endpoint.sensitive_headers, endpoint, None, registry)
        auth = _stored_auth(endpoint.auth, endpoint, None, registry)
        endpoint = msgspec.structs.replace(
            endpoint,
            headers=headers.headers,
            sealed_headers=headers.sealed,
            signing_keys=_first_keys(endpoint, registry),
            **auth._asdict(),
        )
        await registry.call(CreateEndpoint(endpoint), endpoint.id)
        stored = registry.directory.endpoint(endpoint.id) or endpoint
        return public(stored) | {"secret": plain}


async def all_of(tenant: str | None, mode: str | None) -> list[dict[str, Any]]:
    """The endpoints of a tenant and mode, or of all."""
    async with session() as registry:
        return [public(endpoint) for endpoint in registry.directory.endpoints(tenant, mode)]


async def one(endpoint_id: str) -> dict[str, Any]:
    """One endpoint."""
    async with session() as registry:
        return public(registry.endpoint(endpoint_id))


async def change(endpoint_id: str, changes: dict[str, Any], expect_version: int | None) -> dict[str, Any]:
    """Change fields."""
    async with session() as registry:
        endpoint = registry.endpoint(endpoint_id)
        if changes.keys() & {"headers", "sensitive_headers"} or has_plain(endpoint):
            marked = changes.get("sensitive_headers", endpoint.sensitive_headers)
            result = _stored_headers(changes.get("headers", endpoint.headers), marked, endpoint, endpoint, registry)
            changes = changes | {"headers": result.headers, "sealed_headers": result.sealed}
        if "auth" in changes:
            auth = _stored_auth(_converted(changes["auth"]), endpoint, endpoint, registry)
            changes = changes | auth._asdict()
        scheme = changes.get("signature_scheme", endpoint.signature_scheme)
        if scheme != "v1" and not endpoint.signing_keys:
            keys = _first_keys(msgspec.structs.replace(endpoint, signature_scheme=scheme), registry)
            changes = changes | {"signing_keys": keys}
            expect_version = endpoint.version if expect_version is None else expect_version
        changes = msgspec.to_builtins(changes)
        await registry.call(UpdateEndpoint(endpoint.id, changes, expect_version), endpoint.id)
        return public(registry.endpoint(endpoint.id))


async def remove(endpoint_id: str) -> None:
    """Remove it."""
    async with session() as registry:
        endpoint = registry.endpoint(endpoint_id)
        await registry.call(RemoveEndpoint(endpoint.id), endpoint.id)


def public(endpoint: Endpoint) -> dict[str, Any]:
    """The fields of an endpoint for output: all but its secrets and the registry's internal fields."""
    shown: dict[str, Any] = {name: getattr(endpoint, name) for name in Endpoint.__struct_fields__ if name not in _INNER}
    return shown | {
        "status": endpoint.shown_status,
        "headers": masked(endpoint.headers, endpoint.sensitive_headers or ()),
        "auth": msgspec.to_builtins(endpoint.auth or NoAuth()),
        "events": list(endpoint.events),
        "signed": bool(endpoint.secrets),
        "public_keys": [each.public for each in endpoint.signing_keys],
    }


def _checked(values: dict[str, Any]) -> Endpoint:
    try:
        return msgspec.convert(values, Endpoint)
    except msgspec.ValidationError as error:  # it names one misfit
        problems = list(shape_problems(values, Endpoint))
        detail = "; ".join(f"{pointer.strip('/')}: {text}" for pointer, text in problems)
        raise CommandRefused("invalid", detail, problems) from error


def _secret(profile: str, given: str | None, unsigned: bool) -> str | None:
    signer = PROFILES.get(profile)
    if unsigned:
        if given is not None:
            raise CommandRefused("invalid", "--secret and --no-secret exclude each other")
        if signer is not None and signer.secret_required:
            raise CommandRefused("invalid", f"profile {profile} always signs")
        return None
    plain = given or new_signing_secret()
    if signer is not None:
        try:
            signer.key(plain)
        except ConfigError as error:
            raise CommandRefused("invalid", str(error)) from error
    return plain


def _stored_headers(
    headers: dict[str, str],
    marked: Collection[str] | None,
    owner: Endpoint,
    current: Endpoint | None,
    registry: RegistrySession,
) -> StoredHeaders:
    problems = list(RULES["headers"](headers))
    if problems:
        raise CommandRefused("invalid", f"headers: {'; '.join(problems)}")
    if not any(is_sensitive(name, marked or ()) for name in headers) and MASK not in headers.values():
        return StoredHeaders(dict(headers), {})

    ring, now_ms = process_context.keyring(registry.settings), registry.clock.now_ms()
    result, unmatched = stored(
        headers, current, lambda value: ring.seal(value, owner.secret_owner, now_ms), marked or ()
    )
    if unmatched:
        raise CommandRefused("invalid", f"headers: {unmatched[0]} is masked, but has no present value to keep")
    return result


def _first_keys(endpoint: Endpoint, registry: RegistrySession) -> tuple[SigningKey, ...]:
    if endpoint.signature_scheme == "v1":
        return ()
    ring = process_context.keyring(registry.settings)
    return (ring.seal_key(None, endpoint.secret_owner, registry.clock.now_ms()),)


def _converted(value: Any) -> ReceiverAuth | None:
    try:
        auth: ReceiverAuth | None = msgspec.convert(value, ReceiverAuth | None)
    except msgspec.ValidationError as error:
        pointer, sentence = in_words(error, ReceiverAuth | None)
        raise CommandRefused("invalid", f"auth{pointer}: {sentence}", [(f"/auth{pointer}", sentence)]) from error
    return auth


def _stored_auth(
    auth: ReceiverAuth | None, owner: Endpoint, current: Endpoint | None, registry: RegistrySession
) -> StoredAuth:
    problems = list(auth_problems(auth))
    if problems:
        raise CommandRefused("invalid", f"auth{'; '.join(problems)}")
    if auth is None:
        return StoredAuth()
    from app.adapters.http.client_certificates import read_certificate  # loads cryptography

    ring, now_ms = process_context.keyring(registry.settings), registry.clock.now_ms()
    vault = AuthVault(
        seal=lambda secret: ring.seal(secret, owner.secret_owner, now_ms),
        open=lambda sealed: ring.open(sealed, owner.secret_owner),
        read=lambda mtls: read_certificate(mtls, now_ms),
    )
    try:
        return stored_auth(auth, current, vault)
    except BadAuth as error:
        raise CommandRefused("invalid", f"auth{error}" if error.pointer else f"auth: {error}") from error


def _sealed(endpoint: Endpoint, plain: str | None, registry: RegistrySession) -> Endpoint:
    if plain is None:
        return endpoint
    owner = endpoint.secret_owner
    sealed: SealedSecret = process_context.keyring(registry.settings).seal(plain, owner, registry.clock.now_ms())
    return msgspec.structs.replace(endpoint, secrets=(sealed,))
