"""What the read model promises, on SQLite and on PostgreSQL: the same suite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import event

from app.adapters.sql.database import Database
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.errors import Unavailable
from app.core.readmodel.hourly_stats import LATENCY_BOUNDS_MS
from app.core.readmodel.rows import DeliveryFilter
from app.core.topics.names import TopicName
from tests.contracts.readmodel_kit import BEGUN_MS, DEAD, FAILED, Journal, delivery

ACME = DeliveryFilter(tenant="acme", mode="live")
Stores = tuple[SqlProjectionStore, SqlReadStore]


async def ids_of(read: SqlReadStore, which: DeliveryFilter, limit: int = 100) -> list[str]:
    """All pages."""
    found: list[str] = []
    cursor = None
    while True:
        page = await read.deliveries(which, limit=limit, cursor=cursor)
        found += [row.id for row in page.rows]
        if page.cursor is None:
            return found
        cursor = page.cursor


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
        assert await read.notices(tenant, mode, endpoint_id=None, limit=9) == []  # type: ignore[arg-type]
        assert await read.hours(tenant, mode, endpoint_id=None, since_ms=0, until_ms=2**53) == []  # type: ignore[arg-type]


async def test_pages_are_newest_first_and_complete(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    many = [delivery(number, accepted_at_ms=BEGUN_MS + number // 3) for number in range(50)]
    for each in many:
        journal.attempted(each, BEGUN_MS + 1000)
    await journal.into(write)
    expected = [each.id for each in sorted(many, key=lambda each: (each.accepted_at_ms, each.id), reverse=True)]
    for limit in (1, 7, 50, 51):
        assert await ids_of(read, ACME, limit) == expected
    page = await read.deliveries(ACME, limit=50)
    assert page.cursor is None
    with pytest.raises(ValueError, match="cursor"):
        await read.deliveries(ACME, limit=5, cursor="bm9uc2Vuc2U")


_TYPES = ("recording.created", "recording.x", "bot.done")


def _mixed() -> Journal:
    journal = Journal()
    for number in range(40):
        one = delivery(
            number,
            endpoint_id=f"ep_{number % 4}",
            event_type=_TYPES[number % 3],
            replay_id="rpl_1" if number % 10 == 0 else "",
        )
        journal.handed(one, BEGUN_MS + number)
        match number % 5:
            case 0:
                journal.attempted(one, BEGUN_MS + 2000 + number)
            case 1:
                journal.attempted(one, BEGUN_MS + 2000 + number, **FAILED)
            case 2:
                journal.attempted(one, BEGUN_MS + 2000 + number, **DEAD)
            case 3:
                refused = {**DEAD, "result": "timeout", "status": None, "error": "no answer"}
                journal.attempted(one, BEGUN_MS + 2000 + number, **refused)
    return journal


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint_id": "ep_1"},
        {"states": ("dead",)},
        {"states": ("pending", "retrying")},
        {"states": ("dead", "delivered"), "endpoint_id": "ep_2"},
        {"event_type": "bot.done"},
        {"event_type": "recording.*"},
        {"event_type": "*"},
        {"event_type": "recording.*", "states": ("dead", "retrying")},
        {"status": (500, 599)},
        {"status": (503, 503)},
        {"status": (200, 200)},
        {"status": (400, 599)},
        {"result": "timeout"},
        {"result": "ok"},
        {"result": "timeout", "endpoint_id": "ep_3"},
        {"result": "http_5xx", "reason": "exhausted"},
        {"endpoint_id": "ep_2", "states": ("dead",), "changed_since_ms": BEGUN_MS + 2020},
        {"replay_id": "rpl_1"},
        {"event_id": "evt_7"},
        {"any_id": "evt_7"},
        {"any_id": "evt_7", "states": ("dead",)},
        {"since_ms": BEGUN_MS + 10, "until_ms": BEGUN_MS + 20},
        {"since_ms": BEGUN_MS + 10, "until_ms": BEGUN_MS + 30, "states": ("dead",)},
    ],
    ids=str,
)
async def test_a_filter_finds_what_it_says_and_nothing_else(stores: Stores, fields: dict[str, object]) -> None:
    write, read = stores
    await _mixed().into(write)
    every = (await read.deliveries(ACME, limit=100)).rows
    assert len(every) == 40
    which = msgspec.structs.replace(ACME, **fields)
    expected = [row.id for row in every if _fits(row, which)]
    assert expected and (len(expected) < 40 or fields == {"event_type": "*"})
    assert await ids_of(read, which) == expected
    assert await ids_of(read, which, limit=3) == expected
    assert await read.count(which, at_most=100) == len(expected)
    assert await read.count(which, at_most=1) == 1


def _fits(row: object, which: DeliveryFilter) -> bool:
    """The same filter, in other words."""
    said = msgspec.structs.asdict(row)  # type: ignore[arg-type]
    for name in ("endpoint_id", "event_id", "result", "reason", "replay_id"):
        if getattr(which, name) is not None and getattr(which, name) != said[name]:
            return False
    pattern = which.event_type
    if pattern and not (
        said["event_type"] == pattern or (pattern[-1] == "*" and said["event_type"].startswith(pattern[:-1]))
    ):
        return False
    if which.states and said["state"] not in which.states:
        return False
    if which.status and not (said["status"] is not None and which.status[0] <= said["status"] <= which.status[1]):
        return False
    if which.any_id and which.any_id not in (said["id"], said["event_id"]):
        return False
    if said["updated_at_ms"] < (which.changed_since_ms or 0):
        return False
    return bool((which.since_ms or 0) <= said["created_at_ms"] < (which.until_ms or 2**53))


async def test_any_id_finds_a_delivery(stores: Stores) -> None:
    write, read = stores
    await _mixed().into(write)
    which = msgspec.structs.replace(ACME, any_id=delivery(7, endpoint_id="ep_3").id)
    assert len(await ids_of(read, which)) == 1 and await read.count(which, at_most=5) == 1


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
    assert await read.hours("acme", "live", endpoint_id="ep_2", since_ms=0, until_ms=BEGUN_MS + 3_600_000) == []


def _first(journal: Journal) -> tuple[object, dict]:  # type: ignore[type-arg]
    journal.forget()
    return journal.portion()


async def test_nothing_is_written_by_who_has_lost_the_partition(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    journal.attempted(delivery(1), BEGUN_MS)
    await journal.into(write)
    journal.attempted(delivery(2), BEGUN_MS + 1)
    stale = journal.portion()
    await journal.into(write)
    assert not await write.write(*stale)
    assert len(await ids_of(read, ACME)) == 2
    assert (await read.hours("acme", "live", endpoint_id=None, since_ms=0, until_ms=2**53))[0].attempts == 2
    assert await write.offsets([(TopicName.ATTEMPTS, 0)]) == {(TopicName.ATTEMPTS, 0): 2}
    assert await read.updated_at_ms() == BEGUN_MS + 1


async def test_a_dead_delivery_says_where_its_last_record_is(stores: Stores) -> None:
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


async def test_dead_ones_are_grouped(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for number in range(6):
        journal.attempted(delivery(number), BEGUN_MS + number, **DEAD)
    journal.attempted(delivery(7, endpoint_id="ep_2"), BEGUN_MS + 50, **{**DEAD, "result": "timeout", "status": None})
    journal.dead(delivery(8), BEGUN_MS + 60, "paused")
    await journal.into(write)
    large, small = await read.dead_groups("acme", "live", since_ms=0, limit=10)
    assert (large.endpoint_id, large.reason, large.result, large.count) == ("ep_1", "exhausted", "http_5xx", 6)
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


async def test_the_audit_log_is_paged_and_nobodys_traffic_removes_an_entry(stores: Stores) -> None:
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


async def test_old_deliveries_are_pruned_with_their_attempts(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    many = [delivery(number) for number in range(30)]
    for number, each in enumerate(many):
        journal.attempted(each, BEGUN_MS + number * 1000)
    await journal.into(write)
    assert await write.prune(BEGUN_MS + 20_000, audit_before_ms=0, limit=15) == 15
    assert await write.prune(BEGUN_MS + 20_000, audit_before_ms=0, limit=15) == 5
    assert await write.prune(BEGUN_MS + 20_000, audit_before_ms=0, limit=15) == 0
    assert set(await ids_of(read, ACME)) == {each.id for each in many[20:]}
    assert await read.attempts("acme", "live", many[0].id) == []
    assert len(await read.attempts("acme", "live", many[25].id)) == 1


async def test_it_is_the_same_again_after_everything_was_removed(stores: Stores) -> None:
    write, read = stores
    journal = _mixed()
    await journal.into(write)
    before = (await read.deliveries(ACME, limit=100)).rows
    await write.clear()
    assert (await read.deliveries(ACME, limit=100)).rows == [] and await read.updated_at_ms() is None
    journal.forget()
    await journal.into(write)
    assert (await read.deliveries(ACME, limit=100)).rows == before


async def test_what_no_database_would_take_is_passed_over(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for value in (b"", b"{", b"[" * 5000, b'{"delivery_id":"x"}'):
        journal.append(TopicName.ATTEMPTS, at_ms=BEGUN_MS, value=value)
    journal.attempted(delivery(1, tenant="a\x01b"), BEGUN_MS)
    journal.attempted(delivery(2, event_type="x" * 3000), BEGUN_MS)
    journal.attempted(delivery(3), BEGUN_MS, 10**25)
    journal.attempted(delivery(4), BEGUN_MS, **{**FAILED, "next_attempt_at": "never"})
    journal.append(TopicName.DELIVERIES, at_ms=BEGUN_MS, value=b"", headers=[("delivery-id", b"\xff")])
    fine = delivery(5, ordering_key="k\x00", sequence=1)
    journal.attempted(
        fine, -5, error="e\x00" * 9000, status=None, **{k: v for k, v in DEAD.items() if k not in ("error", "status")}
    )
    assert (await journal.into(write)).unreadable == 9
    row = await read.delivery("acme", "live", fine.id)
    assert row is not None and row.ordering_key == "k\ufffd" and row.error is not None and "\x00" not in row.error


async def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    read = SqlReadStore(Database(None, tmp_path / "nowhere"))
    with pytest.raises(Unavailable, match="does not exist yet"):
        await read.deliveries(ACME, limit=1)
    far = Database("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    for work in (SqlProjectionStore(far).prepare(), SqlReadStore(far).updated_at_ms()):
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/none"):
            await work
    await read.close()
    await far.close()


async def test_a_full_disk_and_a_lock_are_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    database = Database(None, tmp_path)
    write, read = SqlProjectionStore(database), SqlReadStore(database)
    await write.prepare()
    limits = {"max_page_count": 100, "busy_timeout": 1}

    @event.listens_for(database.engine.sync_engine, "checkout")
    def on_checkout(raw: Any, *rest: Any) -> None:
        for name, value in limits.items():
            raw.cursor().execute(f"PRAGMA {name}={value}")

    journal = Journal()
    for number in range(2000):
        journal.attempted(delivery(number), BEGUN_MS)
    portion, moved = journal.portion()
    await write.offsets(moved)
    with pytest.raises(Unavailable, match="full"):
        await write.write(portion, moved)
    assert (await read.deliveries(ACME, limit=1)).rows == []
    limits["max_page_count"] = 1_000_000
    async with database.writing():
        with pytest.raises(Unavailable, match="locked"):
            await write.write(*journal.portion())
    assert await write.write(*journal.portion())
    assert await read.count(ACME, at_most=9999) == 2000
    await write.close()
