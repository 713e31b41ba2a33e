"""What the operator's overview asks, on SQLite and on PostgreSQL: traffic of all tenants, and last failures."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.adapters.sql import overview
from app.core.readmodel.hourly_stats import HOUR_MS
from app.core.readmodel.rows import EventFilter
from tests.contracts.query_plans import SCAN, plans_of, statements
from tests.contracts.readmodel_kit import BEGUN_MS, DEAD, FAILED, Journal, Stores, delivery

DAY = {"since_ms": BEGUN_MS, "until_ms": BEGUN_MS + 24 * HOUR_MS}


def tenants(*numbers: int, at_ms: int = BEGUN_MS, journal: Journal | None = None) -> Journal:
    """Tenant t0 with as many attempts as the first number says, t1 … on two partitions; every third one fails."""
    journal = journal or Journal()
    for tenant, attempts in enumerate(numbers):
        for number in range(attempts):
            name = f"evt_{at_ms}_{number}"
            one = delivery(number, tenant=f"t{tenant}", endpoint_id=f"ep_{tenant}_{number % 3}", event_id=name)
            more: dict[str, Any] = DEAD if number % 3 == 2 else {}
            journal.attempted(one, at_ms + number, partition=number % 2, **more)
    return journal


async def test_all_tenants_are_summed_and_the_busiest_are_named(stores: Stores) -> None:
    write, read = stores
    journal = tenants(3, 9, 6)
    journal.attempted(delivery(1, tenant="t1", mode="test"), BEGUN_MS + HOUR_MS)
    journal.attempted(delivery(2, tenant="t0"), BEGUN_MS - 1)
    journal.attempted(delivery(3, tenant="t0"), BEGUN_MS + 24 * HOUR_MS)
    await journal.into(write)
    traffic = await read.traffic(**DAY, busiest=3)
    assert (traffic.since_ms, traffic.is_complete, traffic.tenants) == (BEGUN_MS, True, 4)
    assert (traffic.attempts, traffic.failed_attempts, traffic.delivered, traffic.dead) == (19, 6, 13, 6)
    named = [(each.tenant, each.mode, each.attempts, each.failed_attempts) for each in traffic.busiest]
    assert named == [("t1", "live", 9, 3), ("t2", "live", 6, 2), ("t0", "live", 3, 1)]
    assert (traffic.busiest[0].delivered, traffic.busiest[0].dead) == (6, 3)
    empty = await read.traffic(since_ms=0, until_ms=1, busiest=3)
    assert (empty.tenants, empty.attempts, list(empty.busiest), empty.is_complete) == (0, 0, [], True)


async def test_traffic_of_too_many_rows_leaves_the_oldest_hours_out(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read = stores
    journal = Journal()
    for hour in range(3):
        tenants(2, 2, 2, at_ms=BEGUN_MS + hour * HOUR_MS, journal=journal)
    await journal.into(write)
    for most, hours in ((18, 3), (17, 2), (12, 2), (11, 1), (6, 1)):
        monkeypatch.setattr(overview, "MAX_ROWS", most)
        traffic = await read.traffic(**DAY, busiest=9)
        assert (traffic.attempts, traffic.is_complete) == (6 * hours, hours == 3), most
        assert traffic.since_ms == BEGUN_MS + (3 - hours) * HOUR_MS
    monkeypatch.setattr(overview, "MAX_ROWS", 4)  # not even the newest hour: a part of it is counted
    traffic = await read.traffic(**DAY, busiest=9)
    assert (traffic.attempts, traffic.is_complete, traffic.since_ms) == (4, False, BEGUN_MS + 2 * HOUR_MS)


async def test_the_last_failure_of_each_endpoint(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    dead, retrying, fine = delivery(1), delivery(2), delivery(3)
    journal.attempted(dead, BEGUN_MS + 1, **DEAD)
    journal.attempted(retrying, BEGUN_MS + 2, **FAILED | {"status": 404, "result": "http_4xx"})
    journal.attempted(fine, BEGUN_MS + 3)
    journal.attempted(delivery(4, endpoint_id="ep_2"), BEGUN_MS + 4)
    journal.attempted(delivery(5, endpoint_id="ep_3", tenant="other"), BEGUN_MS + 5, **DEAD)
    await journal.into(write)
    asked = [("acme", "live", "ep_1"), ("acme", "live", "ep_2"), ("acme", "live", "ep_3"), ("other", "live", "ep_3")]
    failures = await read.last_failures(asked)  # type: ignore[arg-type]
    assert set(failures) == {"ep_1", "ep_3"}
    last = failures["ep_1"]
    assert (last.delivery_id, last.at_ms, last.status, last.result) == (retrying.id, BEGUN_MS + 2, 404, "http_4xx")
    assert failures["ep_3"].reason == "exhausted"
    assert not await read.last_failures([("acme", "live", "ep_3"), ("acme", "test", "ep_1")])
    assert not await read.last_failures([])


async def test_endpoints_without_a_success(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    journal.attempted(delivery(1), BEGUN_MS, **FAILED)
    journal.attempted(delivery(2), BEGUN_MS + HOUR_MS, **FAILED)
    journal.attempted(delivery(3), BEGUN_MS + HOUR_MS, **DEAD)
    journal.attempted(delivery(4, endpoint_id="ep_2"), BEGUN_MS)
    journal.attempted(delivery(5, endpoint_id="ep_2", tenant="other"), BEGUN_MS + HOUR_MS, **FAILED)
    journal.attempted(delivery(6, endpoint_id="ep_3"), BEGUN_MS + HOUR_MS, **FAILED)
    journal.attempted(delivery(7, endpoint_id="ep_3"), BEGUN_MS + HOUR_MS)
    await journal.into(write)
    failing = await read.without_success(since_ms=BEGUN_MS, limit=9)
    assert [(each.tenant, each.endpoint_id, each.attempts) for each in failing] == [
        ("acme", "ep_1", 3),
        ("other", "ep_2", 1),
    ]
    later = await read.without_success(since_ms=BEGUN_MS + HOUR_MS, limit=1)
    assert [(each.endpoint_id, each.attempts) for each in later] == [("ep_1", 2)]
    assert not await read.without_success(since_ms=BEGUN_MS + 2 * HOUR_MS, limit=9)


async def test_events_are_counted_up_to_a_limit(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for number in range(30):
        record = journal.event(BEGUN_MS + number, id=f"e{number}", tenant=f"t{number % 3}")
        if number % 5 == 0:
            journal.rejected(record)
    await journal.into(write)
    assert await read.count_events(EventFilter(since_ms=BEGUN_MS), at_most=100) == 30
    assert await read.count_events(EventFilter(since_ms=BEGUN_MS + 20), at_most=100) == 10
    assert await read.count_events(EventFilter(since_ms=BEGUN_MS), at_most=7) == 7
    assert await read.count_events(EventFilter(result="rejected"), at_most=100) == 6


async def test_the_overview_scans_no_table(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for hour in range(48):
        tenants(*[12] * 5, at_ms=BEGUN_MS + hour * HOUR_MS, journal=journal)
    for number in range(2000):
        journal.event(BEGUN_MS + number, id=f"e{number}")
    await journal.into(write)
    asked = statements(read)
    await read.traffic(since_ms=BEGUN_MS + 24 * HOUR_MS, until_ms=BEGUN_MS + 48 * HOUR_MS, busiest=5)
    plans = await plans_of(read, asked)
    assert len(plans) == 2 and all("hours_of_tenants" in plan for plan in plans), plans
    assert [plan for plan in plans if SCAN.search(plan)] == []
    await read.without_success(since_ms=BEGUN_MS + 46 * HOUR_MS, limit=5)
    (plan,) = await plans_of(read, asked)
    assert "hours_by_age" in plan and not SCAN.search(plan), plan
    await read.last_failures([("t1", "live", "ep_1_0"), ("t2", "live", "ep_2_0")])
    (plan,) = await plans_of(read, asked)
    assert re.search("deliveries_by_(endpoint_)?state|deliveries_by_endpoint", plan) and not SCAN.search(plan), plan
    await read.count_events(EventFilter(since_ms=BEGUN_MS), at_most=1000)
    (plan,) = await plans_of(read, asked)
    assert "events_by_age" in plan and not SCAN.search(plan), plan
