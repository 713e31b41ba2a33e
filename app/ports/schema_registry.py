"""The registry of the schemas with which producers encode records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from app.core.inputs.wire_format import Decode


class SchemaRegistry(Protocol):
    """Decoders by the id of a schema."""

    async def decoders(self, ids: Collection[int]) -> Mapping[int, Decode]:
        """A decoder for each id; that of an unknown or unusable schema refuses every value.

        While the registry does not answer, it waits and asks again, for ever.
        """
        ...

    def trouble(self) -> str | None:
        """Why the registry cannot be used at present; None: it can, or was not asked yet."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
