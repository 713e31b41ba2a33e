"""The setting `auth` of a request: checked, and its secret sealed before it is sent to the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.api.contract.fields import FieldError
from app.api.problems import invalid
from app.api.request import ApiServices
from app.core.model.endpoint import Endpoint
from app.core.model.receiver_auth import ReceiverAuth, auth_conflict, auth_problems
from app.core.model.sealed_auth import AuthVault, BadAuth, StoredAuth, stored_auth


def sealed_auth(api: ApiServices, auth: ReceiverAuth | None, owner: str, current: Endpoint | None = None) -> StoredAuth:
    """What the registry stores. Raises `ApiError` for values that cannot be sent, and for a mask without a secret."""
    problems = [_error(sentence) for sentence in auth_problems(auth)]
    if problems:
        raise invalid(*problems)
    now_ms = api.clock.now_ms()
    vault = AuthVault(
        seal=lambda secret: api.keyring.seal(secret, owner, now_ms),
        open=lambda sealed: api.keyring.open(sealed, owner),
        read=lambda mtls: api.read_certificate(mtls, now_ms),
    )
    try:
        return stored_auth(auth, current, vault)
    except BadAuth as error:
        raise invalid(FieldError(detail=error.detail, pointer=f"/auth{error.pointer}")) from error


def changed_auth(api: ApiServices, endpoint: Endpoint, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` with a sealed `auth`, checked against the URL and headers that the endpoint then has."""
    auth = changes.get("auth", endpoint.auth)
    check_conflict(auth, changes.get("headers", endpoint.headers), changes.get("url", endpoint.url), changes)
    if "auth" not in changes:
        return dict(changes)
    return {**changes, **sealed_auth(api, auth, endpoint.secret_owner, endpoint)._asdict()}


def check_conflict(
    auth: ReceiverAuth | None, headers: Mapping[str, str], url: str, named: Mapping[str, Any] | None = None
) -> None:
    """Raise `ApiError` if `auth` does not go with URL or headers; `named` are the fields of the request, if not all."""
    conflict = auth_conflict(auth, headers, url)
    if conflict is None:
        return
    if named is None or "auth" in named:
        raise invalid(FieldError(detail=conflict, pointer="/auth"))
    for field in ("headers", "url"):
        if field in named:
            raise invalid(FieldError(detail=f"the endpoint's `auth` {conflict}", pointer=f"/{field}"))


def _error(sentence: str) -> FieldError:
    pointer, _, rest = sentence.partition(": ")
    return FieldError(detail=rest, pointer=f"/auth{pointer}")
