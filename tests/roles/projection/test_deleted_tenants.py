"""For how long the rows of a deleted tenant are looked for."""

from __future__ import annotations

from app.roles.projection.deleted_tenants import DeletedTenants

DAY_MS = 86_400_000


def test_rows_are_looked_for_until_no_delivery_can_wait_any_more() -> None:
    tenants = DeletedTenants()
    tenants.add("acme", 10 * DAY_MS, 10 * DAY_MS + 5)
    until = [(tenants.due((10 + days) * DAY_MS - 1), days) for days in (1, 8, 9)]
    assert until == [([("acme", 10 * DAY_MS + 60_000)], 1), ([("acme", 10 * DAY_MS + 60_000)], 8), ([], 9)]


def test_an_old_deletion_is_looked_after_for_a_day() -> None:
    tenants = DeletedTenants()
    tenants.add("acme", 0, 100 * DAY_MS)
    assert tenants.due(101 * DAY_MS - 1) and not tenants.due(101 * DAY_MS)
