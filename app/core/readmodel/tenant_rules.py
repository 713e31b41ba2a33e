"""What the read model keeps of a tenant, and what it hides: `retention_days` and `redact` of tenants.

Rules of this file
- Rows are kept by whole hours: statistics are counted by the hour, and an hour is kept with all its rows or with none.
- A row is shown exactly for the tenant's days, whether older rows have been removed or not.
- Of a tenant with hidden fields, neither what a receiver has answered is stored, nor in words why a record was
  rejected: both may quote the event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from app.core.model.tenant import Tenant
from app.core.readmodel.batch import ProjectionBatch
from app.core.readmodel.hourly_stats import HOUR_MS

_DAY_MS = 86_400_000


class RowRule(NamedTuple):
    """The rule of one tenant."""

    #: rows of records before that time are neither stored nor kept; in milliseconds since the epoch
    from_ms: int
    #: whether nothing is stored that may quote an event
    is_redacted: bool


class TenantRules:
    """The rules of all tenants, as the registry has them at the time of each call."""

    def __init__(self, tenants: Callable[[], Mapping[str, Tenant]], now_ms: Callable[[], int]) -> None:
        self._tenants = tenants
        self._now_ms = now_ms

    def shown_from_ms(self, tenant: str) -> int:
        """The time before which rows of the tenant are not shown; 0: all are."""
        entry = self._tenants().get(tenant)
        return self._begin_ms(entry.retention_days) if entry is not None else 0

    def is_redacted(self, tenant: str) -> bool:
        """Whether the tenant has hidden fields."""
        entry = self._tenants().get(tenant)
        return entry is not None and bool(entry.redact)

    def rule_of(self, tenant: str) -> RowRule | None:
        """The tenant's rule; None: it has none of its own."""
        entry = self._tenants().get(tenant)
        if entry is None or (entry.retention_days is None and not entry.redact):
            return None
        return RowRule(_whole_hour(self._begin_ms(entry.retention_days)), bool(entry.redact))

    def limited(self) -> list[tuple[str, int]]:
        """The tenants with days of their own, with the time before which their rows are removed."""
        return [
            (entry.id, _whole_hour(self._begin_ms(entry.retention_days)))
            for entry in self._tenants().values()
            if entry.retention_days is not None
        ]

    def _begin_ms(self, days: int | None) -> int:
        return max(0, self._now_ms() - days * _DAY_MS) if days is not None else 0


def restrict(batch: ProjectionBatch, rules: TenantRules) -> None:
    """Remove the rows of a batch that are too old for their tenants, and the texts that their tenants hide."""
    names = {fact.tenant for fact in batch.facts}
    names |= {event.tenant for event in batch.indexed} | {notice.tenant for notice, _ in batch.notices}
    own = {name: rule for name in names if (rule := rules.rule_of(name)) is not None}
    if not own:
        return
    tenant_of = {fact.id: fact.tenant for fact in batch.facts if fact.tenant in own}

    def stays(tenant: str, at_ms: int) -> bool:
        rule = own.get(tenant)
        return rule is None or at_ms >= rule.from_ms

    batch.lines = [line for line in batch.lines if stays(tenant_of.get(line.delivery_id, ""), line.at_ms)]
    batch.facts = [fact for fact in batch.facts if stays(fact.tenant, fact.at_ms)]
    batch.requests = [each for each in batch.requests if stays(each.fact.tenant, each.fact.at_ms)]
    batch.ends = [each for each in batch.ends if stays(each.fact.tenant, each.fact.at_ms)]
    batch.notices = [each for each in batch.notices if stays(each[0].tenant, each[1])]
    batch.indexed = [event for event in batch.indexed if stays(event.tenant, event.at_ms)]
    hidden = {name for name, rule in own.items() if rule.is_redacted}
    batch.lines = [
        msgspec.structs.replace(line, response_headers=None, response_body=None)
        if tenant_of.get(line.delivery_id) in hidden
        else line
        for line in batch.lines
    ]
    for event in batch.indexed:
        if event.tenant in hidden:
            event.detail = None


def _whole_hour(at_ms: int) -> int:
    return at_ms - at_ms % HOUR_MS
