"""Signing keys of Standard Webhooks v1a: made with the scheme, rotated, and published for receivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.contract.fields import FieldError
from app.api.contract.webhooks import PublishedKey, PublishedKeys
from app.api.problems import invalid, not_found
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import ConfigError
from app.core.model.endpoint import Endpoint, SigningKey, in_use
from app.core.model.endpoint_settings import SigningScheme
from app.core.model.timestamps import iso
from app.profiles.catalog import PROFILES
from app.profiles.contract import Profile
from app.profiles.secrets import scheme_problem

#: how long receivers may keep the published keys
_CACHED = {"Cache-Control": "public, max-age=60"}


async def published(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The public keys of an endpoint, for everybody who knows its id."""
    name = call.path["id"]
    endpoint = api.feed.directory.endpoint(name)
    keys = public_keys(endpoint, api.clock.now_ms()) if endpoint is not None else []
    if not keys:
        raise not_found("endpoint with public keys", name)
    return ApiResponse(body=PublishedKeys(keys=keys), headers=_CACHED)


def public_keys(endpoint: Endpoint, now_ms: int) -> list[PublishedKey]:
    """The public halves of the keys that sign now, newest first."""
    return [
        PublishedKey(
            public_key=each.public,
            created_at=iso(each.created_at_ms),
            expires_at=iso(each.expires_at_ms) if each.expires_at_ms is not None else None,
        )
        for each in in_use(endpoint.signing_keys, now_ms)
    ]


def first_keys(
    api: ApiServices, signer: Profile, scheme: SigningScheme, private: str | None, owner: str
) -> tuple[SigningKey, ...]:
    """The signing keys of a new endpoint: the given one, or one that is made where the scheme needs it.

    Raises `ApiError` if the signature of `signer` has no room for the scheme, or the key is none.
    """
    if scheme == "v1" and private is None:
        return ()
    _check_scheme(scheme, signer, "/signature_scheme")
    return (sealed_key(api, private, owner),)


def changed_keys(api: ApiServices, endpoint: Endpoint, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes`, with a new signing key if they need one and the endpoint has none. Raises `ApiError`."""
    if not {"signature", "signature_scheme"} & changes.keys():
        return dict(changes)
    fresh = msgspec.structs.replace(
        endpoint, **{name: changes[name] for name in ("signature", "signature_scheme") if name in changes}
    )
    if fresh.signature_scheme == "v1" or fresh.signer not in PROFILES:  # an unknown name is refused by the registry
        return dict(changes)
    pointer = "/signature_scheme" if "signature_scheme" in changes else "/signature"
    _check_scheme(fresh.signature_scheme, PROFILES[fresh.signer], pointer)
    if endpoint.signing_keys:
        return dict(changes)
    return {**changes, "signing_keys": (sealed_key(api, None, endpoint.secret_owner),)}


def _check_scheme(scheme: SigningScheme, signer: Profile, pointer: str) -> None:
    problem = scheme_problem(scheme, signer)
    if problem is not None:
        raise invalid(FieldError(detail=problem, pointer=pointer))


def sealed_key(api: ApiServices, private: str | None, owner: str) -> SigningKey:
    """The sealed key for the registry: the given one, or a new one. Raises `ApiError` if it is no private key."""
    try:
        return api.keyring.seal_key(private, owner, api.clock.now_ms())
    except ConfigError as error:
        detail = "; ".join(error.problems).removeprefix("signing_key: ")
        raise invalid(FieldError(detail=detail, pointer="/signing_key")) from error
