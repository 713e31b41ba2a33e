"""Equal values of many endpoints, in memory once: most tenants, subscriptions and descriptions are those of others."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

from msgspec.structs import force_setattr

from app.core.model.endpoint import Endpoint

T = TypeVar("T", bound=Hashable)

#: distinct values that are remembered; beyond it all are forgotten, and later ones are remembered
_MOST = 50_000
#: fields whose values are often equal; each is text, a tuple, or null
_FIELDS = ("tenant", "profile", "events", "description", "schedule", "status_reason", "signature", "sensitive_headers")
#: fields of an endpoint are never changed in place
_EMPTY: dict[str, Any] = {}


class SharedValues:
    """Returns one object for all equal values."""

    __slots__ = ("_most", "_values")

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._values: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self._values)

    def of(self, value: T) -> T:
        """The first of the equal values."""
        if len(self._values) >= self._most:
            self._values.clear()
        first: T = self._values.setdefault(value, value)
        return first

    def share(self, endpoint: Endpoint) -> None:
        """Let an endpoint, fresh from its record, hold the objects that equal ones hold."""
        for name in _FIELDS:
            value = getattr(endpoint, name)
            if value is not None:
                force_setattr(endpoint, name, self.of(value))
        for name in ("metadata", "headers", "sealed_headers"):
            if not getattr(endpoint, name):
                force_setattr(endpoint, name, _EMPTY)
        if endpoint.updated_at_ms == endpoint.created_at_ms:
            force_setattr(endpoint, "updated_at_ms", endpoint.created_at_ms)
        for secret in endpoint.sealed:
            force_setattr(secret, "key_id", self.of(secret.key_id))
