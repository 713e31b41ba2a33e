"""Authentication: the operator's token, and the keys of tenants by their hashes."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256

from app.api.problems import ApiError
from app.api.request import Caller
from app.api.server.routes import Access
from app.core.model.event import Mode
from app.ports.registry import DirectoryFeed

_ASK = {"WWW-Authenticate": 'Bearer realm="hookstream"'}
_TENANT, _MODE = "Hookstream-Tenant", "Hookstream-Mode"
#: whether a text can be the id of a tenant
is_name = re.compile(r"[A-Za-z0-9_.-]{1,128}").fullmatch
OPERATOR = Caller("operator", operator=True)
#: who asks for what everybody may see
STRANGER = Caller("stranger")


class Authenticator:
    """Identifies callers. Its refusals do not reveal whether a key exists."""

    def __init__(self, feed: DirectoryFeed, operator_token: str | None) -> None:
        self._feed = feed
        self._operator = sha256(operator_token.encode()).digest() if operator_token else None

    @property
    def has_operator(self) -> bool:
        """Whether an operator's token is set."""
        return self._operator is not None

    def caller(self, authorization: str | None, now_ms: int) -> Caller:
        """Raises `ApiError` 401."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(401, "unauthenticated", "send Authorization: Bearer and a key", headers=_ASK)
        digest = sha256(token.strip().encode("utf-8", "surrogateescape"))
        if self._operator is not None and hmac.compare_digest(digest.digest(), self._operator):
            return OPERATOR
        directory = self._feed.directory
        key = directory.keys_by_digest.get(digest.hexdigest())
        if (
            key is None
            or key.tenant in directory.deleted_tenants
            or (key.expires_at_ms is not None and key.expires_at_ms <= now_ms)
        ):
            raise ApiError(401, "unauthenticated", "the key is unknown, revoked or expired", headers=_ASK)
        return Caller.of(key)

    def acting(self, caller: Caller, headers: Mapping[str, str]) -> Caller:
        """Whom the caller stands for: with the header Hookstream-Tenant the operator is a tenant (mode live, or as
        Hookstream-Mode says). A tenant can only be itself. Raises `ApiError` 400 and 403.
        """
        tenant, mode = headers.get(_TENANT), headers.get(_MODE)
        if tenant is None and mode is None:
            return caller
        if mode not in (None, "live", "test"):
            raise ApiError(400, "invalid_header", f"{_MODE}: live or test")
        if not caller.operator:
            if tenant not in (None, caller.tenant) or mode not in (None, caller.mode):
                raise ApiError(403, "forbidden", "the key belongs to another tenant or mode than the header names")
            return caller
        if tenant is None or not is_name(tenant):
            raise ApiError(400, "invalid_header", f"{_TENANT}: the id of a tenant")
        key_mode: Mode = "test" if mode == "test" else "live"
        return Caller(f"operator/{tenant}/{key_mode}", tenant, key_mode, ("read", "write"), actor="operator")

    def demand(self, access: Access, caller: Caller) -> None:
        """Raises `ApiError` 403."""
        if access == "operator" and not caller.operator:
            raise ApiError(403, "forbidden", "this is for the operator's token")
        if access == "read_any" or access == "write_any":
            if caller.operator:
                return
            access = "read" if access == "read_any" else "write"
        if access == "pull" or access == "commit":
            if "pull" in caller.scopes:
                return
            access = "read" if access == "pull" else "write"
        if access in ("read", "write") and caller.operator:
            raise ApiError(
                403,
                "forbidden",
                f"the operator's token belongs to no tenant: name one with {_TENANT}, or use a key of the tenant",
            )
        if access in ("read", "write") and access not in caller.scopes:
            raise ApiError(403, "forbidden", f"the key lacks the scope {access}")
