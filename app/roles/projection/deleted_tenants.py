"""Which deleted tenants still have rows to be removed from the read model.

Rules of this file
- Tenants are learned from the audit log, where each deletion has an entry.
- Rows are removed for some days after the deletion: waiting deliveries are cancelled when they are due, and a rebuild
  of the read model reads old records again.
"""

from __future__ import annotations

#: milliseconds after a deletion in which records about the tenant may still come: the longest wait of a delivery
_AFTER_MS = 8 * 86_400_000
#: milliseconds for which a process looks after a tenant at least, since it has learned of the deletion
_LEAST_MS = 86_400_000
#: milliseconds by which producers' clocks may be ahead of that of the deletion
_CLOCKS_MS = 60_000


class DeletedTenants:
    """Tenants with the time of their deletion."""

    def __init__(self) -> None:
        #: tenant → (rows up to this time are removed, until when they may come), both in milliseconds
        self._tenants: dict[str, tuple[int, int]] = {}

    def add(self, tenant: str, at_ms: int, now_ms: int) -> None:
        """Learn of a deletion, again perhaps."""
        self._tenants[tenant] = at_ms + _CLOCKS_MS, max(at_ms + _AFTER_MS, now_ms + _LEAST_MS)

    def due(self, now_ms: int) -> list[tuple[str, int]]:
        """The tenants that may have rows, with the time up to which rows are removed."""
        self._tenants = {tenant: times for tenant, times in self._tenants.items() if now_ms < times[1]}
        return [(tenant, until_ms) for tenant, (until_ms, _) in self._tenants.items()]
