"""What the read model promises, on SQLite and on PostgreSQL: the same suite."""

from __future__ import annotations

import msgspec

from app.core.readmodel.hourly_stats import LATENCY_BOUNDS_MS
from app.core.readmodel.rows import DeliveryFilter
from app.core.topics.names import TopicName
from tests.contracts.readmodel_kit import ACME, BEGUN_MS, DEAD, FAILED, Journal, Stores, delivery


async def test_a_delivery_goes_from_pending_to_delivered(stores: Stores) -> None:
    write, read = stores
    journal, one = Journal(), delivery(1, sequence=7, ordering_key="k", accepted_at_ms=BEGUN_MS)
    journal.handed(one, BEGUN_MS + 5)
    await journal.into(write)
    row = await read.delivery("acme", "live", one.id)
    assert row is not None
    assert (row.state, row.attempts, row.created_at_ms, row.updated_at_ms) == ("pending", 0, BEGUN_MS, BEGUN_MS + 5)
    assert (row.source, row.sequence, row.ordering_key, row.replay_id) == ((3, 1), 7, "k", None)

    journal.attempted(one, BEGUN_MS + 100, 1, **FAILED)
    await journal.into(write)
    row = await read.delivery("acme", "live", one.id)
    assert row is not None
    assert (row.state, row.attempts, row.status, row.result) == ("retrying", 1, 503, "http_5xx")
    assert row.next_attempt_at_ms == BEGUN_MS + 60_000 and row.error == FAILED["error"]

    journal.attempted(one, BEGUN_MS + 60_100, 2, trigger="retry", response_body="thanks\x00")
    await journal.into(write)
    row = await read.delivery("acme", "live", one.id)
    assert row is not None
    assert (row.state, row.attempts, row.status, row.error) == ("delivered", 2, 200, None)
    assert row.next_attempt_at_ms is None and row.updated_at_ms == BEGUN_MS + 60_100
    first, second = await read.attempts("acme", "live", one.id)
    assert (first.number, first.status, first.state) == (1, 503, "retrying")
    assert (second.number, second.trigger, second.url) == (2, "retry", "https://example.com/hook")
    assert second.response_body == "thanks\ufffd"


async def test_another_tenant_or_mode_sees_nothing(stores: Stores) -> None:
    write, read = stores
    journal, one = Journal(), delivery()
    journal.attempted(one, BEGUN_MS)
    journal.noticed(BEGUN_MS, id="n1", tenant="acme", mode="live", kind="endpoint.failing", at="", summary="s", data={})
    await journal.into(write)
    for tenant, mode in (("other", "live"), ("acme", "test")):
        which = DeliveryFilter(tenant=tenant, mode=mode)  # type: ignore[arg-type]
        assert (await read.deliveries(which, limit=10)).rows == []
        assert (await read.deliveries(msgspec.structs.replace(which, any_id=one.id), limit=10)).rows == []
        assert await read.delivery(tenant, mode, one.id) is None  # type: ignore[arg-type]
        assert await read.attempts(tenant, mode, one.id) == []  # type: ignore[arg-type]
        assert await read.count(which, at_most=10) == 0
        assert await read.delivery_of_any_tenant(one.id) is not None, "the operator does"
        assert await read.notices(tenant, mode, endpoint_id=None, limit=9) == []  # type: ignore[arg-type]
        assert await read.hours(tenant, mode, endpoint_id=None, since_ms=0, until_ms=2**53) == []  # type: ignore[arg-type]


async def test_hours_count_each_attempt_once(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    one, two = delivery(1), delivery(2, endpoint_id="ep_2")
    journal.attempted(one, BEGUN_MS + 1, 1, duration_ms=4.0, **FAILED)
    journal.attempted(one, BEGUN_MS + 2, 2, duration_ms=60.0)
    journal.attempted(
        one, BEGUN_MS + 3, 2, duration_ms=60.0
    )  # sent again after a crash: an attempt, no second delivery
    journal.attempted(two, BEGUN_MS + 3_600_000, 1, partition=1, duration_ms=99_999.0, **DEAD)
    journal.attempted(
        delivery(3),
        BEGUN_MS + 5,
        0,
        state="cancelled",
        result="endpoint_removed",
        reason="endpoint_removed",
        status=None,
        duration_ms=0.0,
    )
    journal.attempted(delivery(4), BEGUN_MS + 6, trigger="test")
    await journal.into(write)
    _, moved = _first(journal)
    assert not await write.write(journal.portion()[0], moved), "the same records again"
    first, second = await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53)
    assert (first.begins_ms, first.attempts, first.failed_attempts) == (BEGUN_MS, 3, 1)
    assert (first.delivered, first.dead, first.cancelled) == (1, 0, 1)
    assert len(first.durations) == len(LATENCY_BOUNDS_MS) + 1
    assert first.durations[0] == 1 and first.durations[LATENCY_BOUNDS_MS.index(100)] == 2
    assert (second.begins_ms, second.attempts, second.dead) == (BEGUN_MS + 3_600_000, 1, 1)
    assert second.durations[-1] == 1
    only = await read.hours("acme", "live", endpoint_id="ep_2", since_ms=0, until_ms=2**53)
    assert only == [second]
    names = ["ep_1", "ep_2", "ep_without_attempts"]
    counts = await read.attempt_counts("acme", "live", names, since_ms=0, until_ms=2**53)
    assert {name: (each.attempts, each.failed) for name, each in counts.items()} == {"ep_1": (3, 1), "ep_2": (1, 1)}
    assert set(await read.attempt_counts("acme", "live", names, since_ms=0, until_ms=BEGUN_MS + 3_600_000)) == {"ep_1"}
    assert not await read.attempt_counts("acme", "live", [], since_ms=0, until_ms=2**53)
    assert not await read.attempt_counts("other", "live", names, since_ms=0, until_ms=2**53)
    assert await read.hours("acme", "live", endpoint_id="ep_2", since_ms=0, until_ms=BEGUN_MS + 3_600_000) == []


def _first(journal: Journal) -> tuple[object, dict]:  # type: ignore[type-arg]
    journal.forget()
    return journal.portion()


async def test_a_dead_delivery_has_the_offset_of_its_last_record(stores: Stores) -> None:
    write, read = stores
    journal, one = Journal(), delivery(1)
    for number in range(3):
        journal.dead(delivery(number), BEGUN_MS + number, "exhausted")
    await journal.into(write)
    journal.attempted(one, BEGUN_MS + 100, 2, trigger="manual", **DEAD)
    journal.dead(delivery(9), BEGUN_MS + 101, "exhausted")
    journal.dead(one, BEGUN_MS + 102, "exhausted")
    await journal.into(write)
    rows = {row.event_id: row.dead_offset for row in (await read.deliveries(ACME, limit=9)).rows}
    assert rows == {"evt_0": 0, "evt_1": 4, "evt_2": 2, "evt_9": 3}


async def test_dead_deliveries_are_grouped(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for number in range(6):
        journal.attempted(delivery(number), BEGUN_MS + number, **DEAD)
    journal.attempted(delivery(7, endpoint_id="ep_2"), BEGUN_MS + 50, **{**DEAD, "result": "timeout", "status": None})
    journal.attempted(delivery(9, endpoint_id="ep_2"), BEGUN_MS + 10, **{**DEAD, "status": 500})
    journal.dead(delivery(8), BEGUN_MS + 60, "paused")
    await journal.into(write)
    large, small, smaller = await read.dead_groups("acme", "live", since_ms=0, limit=10)
    assert (large.endpoint_id, large.reason, large.result, large.count) == ("ep_1", "exhausted", "http_5xx", 6)
    assert (large.status, small.status, smaller.status) == (503, None, 500)
    assert (large.first_ms, large.last_ms) == (BEGUN_MS, BEGUN_MS + 5)
    assert (small.endpoint_id, small.result, small.count) == ("ep_2", "timeout", 1)
    assert [each.count for each in await read.dead_groups("acme", "live", since_ms=BEGUN_MS + 3, limit=1)] == [3]


async def test_notices_are_paged(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for number in range(5):
        journal.noticed(
            BEGUN_MS + number,
            id=f"n{number}",
            tenant="acme",
            mode="live",
            kind="endpoint.failing",
            endpoint_id=f"ep_{number % 2}",
            summary="It fails.",
            data={"failures": number},
            at=f"2026-01-31T08:00:0{number}Z",
        )
    journal.noticed(BEGUN_MS, id="n0", tenant="acme", kind="endpoint.failing")  # written again
    journal.append(TopicName.NOTICES, at_ms=BEGUN_MS, value=b"nonsense")
    assert (await journal.into(write)).unreadable == 1
    newest = await read.notices("acme", "live", endpoint_id=None, limit=3)
    assert [each.id for each in newest] == ["n4", "n3", "n2"]
    assert newest[0].data == {"failures": 4} and newest[0].at_ms == BEGUN_MS + 4000
    older = await read.notices("acme", "live", endpoint_id=None, limit=9, before_ms=newest[-1].at_ms)
    assert [each.id for each in older] == ["n1", "n0"]
    assert [each.id for each in await read.notices("acme", "live", endpoint_id="ep_1", limit=9)] == ["n3", "n1"]


async def test_the_audit_log_is_paged_and_traffic_removes_no_entry(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for number in range(6):
        journal.audited(BEGUN_MS + number, mode=("live", "test", "")[number % 3], entity=f"endpoint/ep_{number}")
    for number in range(300):
        journal.audited(BEGUN_MS + 6, tenant="other", entity=f"endpoint/ep_{number}")
    journal.audited(BEGUN_MS + 7, after={"url": "https://b.example/"}, before={"url": "https://a.example/"})
    journal.append(TopicName.AUDIT, at_ms=BEGUN_MS, value=b"nonsense")
    assert (await journal.into(write)).unreadable == 1
    newest = await read.audit("acme", "live", limit=3)
    assert [each.entity for each in newest] == ["endpoint/ep_1", "endpoint/ep_5", "endpoint/ep_3"]
    assert (newest[0].before, newest[0].after) == ({"url": "https://a.example/"}, {"url": "https://b.example/"})
    assert (newest[0].at_ms, newest[0].actor, newest[1].mode) == (BEGUN_MS + 7, "key_1", "")
    older = await read.audit("acme", "live", limit=9, before=newest[-1].position)
    assert [each.entity for each in older] == ["endpoint/ep_2", "endpoint/ep_0"]
    await write.prune(BEGUN_MS + 100, audit_before_ms=BEGUN_MS + 3, limit=10)
    assert [each.entity for each in await read.audit("acme", "live", limit=9)] == [each.entity for each in newest]
