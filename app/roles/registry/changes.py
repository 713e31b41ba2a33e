"""One change of the registry."""

from __future__ import annotations

import msgspec

from app.core.records.registry import RegistryEntity


class RegistryChange(msgspec.Struct, frozen=True):
    """A record for the registry; the value None is a tombstone."""

    key: str
    value: RegistryEntity | None
    #: the entity's version after the change; 0: it was removed
    version: int
