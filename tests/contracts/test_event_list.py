"""The index of events, on SQLite and on PostgreSQL: what became of each record of events.raw, in pages."""

from __future__ import annotations

import re
from itertools import permutations
from typing import Any

import msgspec
import pytest

from app.adapters.sql import event_list, paging
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.rows import EventFilter, EventRow
from app.ports.readmodel import OffsetAdvance
from tests.contracts.query_plans import SORT, plans_of, statements
from tests.contracts.readmodel_kit import BEGUN_MS, Journal, delivery

#: the operator's list of everything follows an index to its limit
WHOLE_TABLE = re.compile(r"SCAN (events|deliveries)(?! USING (COVERING )?INDEX)|Seq Scan on (events|deliveries)")
Stores = tuple[SqlProjectionStore, SqlReadStore]
ACME = EventFilter(tenant="acme", mode="live")
EVERYBODY = EventFilter()


async def all_of(read: SqlReadStore, which: EventFilter, limit: int = 100) -> list[EventRow]:
    """The rows of all pages."""
    rows: list[EventRow] = []
    cursor = None
    while True:
        page = await read.events(which, limit=limit, cursor=cursor)
        rows += page.rows
        if page.cursor is None:
            return rows
        cursor = page.cursor


def with_each_outcome() -> Journal:
    """Four events of acme, one of each outcome, oldest first."""
    journal = Journal()
    first = journal.event(BEGUN_MS, id="delivered")
    journal.event(BEGUN_MS + 1, id="alone", type="bot.done", ordering_key="k")
    bad = journal.event(BEGUN_MS + 2, id="bad", type="no type")
    again = journal.event(BEGUN_MS + 3, id="delivered", partition=1)
    journal.rejected(bad)
    journal.duplicated(again, first)
    journal.attempted(delivery(event_id="delivered"), BEGUN_MS + 5)
    return journal


async def once_more(journal: Journal, write: SqlProjectionStore) -> None:
    """Write what a journal has, whatever has been written before."""
    portion, moved = journal.portion()
    there = await write.offsets(moved)
    assert await write.write(portion, {place: OffsetAdvance(there[place], there[place], 0) for place in moved})


async def test_each_event_has_its_outcome(stores: Stores) -> None:
    write, read = stores
    await with_each_outcome().into(write)
    again, bad, alone, delivered = await all_of(read, ACME)
    assert [each.result for each in (again, bad, alone, delivered)] == ["duplicate", "rejected", "unmatched", "matched"]
    assert (again.event_id, again.event_type) == ("delivered", "recording.created")
    assert (again.first, again.first_ms) == ((0, 0), BEGUN_MS)
    assert (bad.event_id, bad.event_type, bad.tenant, bad.mode) == ("bad", "no type", "acme", "live")
    assert (bad.reason, bad.detail) == ("bad_type", "it is no type")
    assert (alone.partition, alone.offset, alone.at_ms) == (0, 1, BEGUN_MS + 1)
    assert (alone.event_type, alone.ordering_key, alone.first) == ("bot.done", "k", None)


async def test_the_topics_may_be_read_in_any_order(stores: Stores) -> None:
    write, read = stores
    expected: list[EventRow] = []
    for order in permutations(with_each_outcome().records):
        journal = with_each_outcome()
        await write.clear()
        for place in order:
            until: dict[PartitionId, int] = dict.fromkeys(journal.records, 0) | {place: 9}
            portion, moved = journal.portion(until)
            await write.offsets(moved)
            assert await write.write(portion, moved)
        rows = await all_of(read, ACME)
        expected = expected or rows
        assert rows == expected


async def test_reading_again_changes_nothing(stores: Stores) -> None:
    write, read = stores
    journal = with_each_outcome()
    await journal.into(write)
    rows = await all_of(read, ACME)
    await once_more(with_each_outcome(), write)
    assert await all_of(read, ACME) == rows


async def test_rows_of_a_recreated_topic_replace_those_at_the_same_offsets(stores: Stores) -> None:
    write, read = stores
    await with_each_outcome().into(write)
    journal = Journal()
    for number in range(3):
        journal.event(BEGUN_MS + 1000 + number, id=f"new{number}")
    await once_more(journal, write)
    rows = await all_of(read, msgspec.structs.replace(ACME, since_ms=BEGUN_MS + 1000))
    assert [(each.event_id, each.result, each.reason) for each in rows] == [
        (f"new{number}", "unmatched", None) for number in (2, 1, 0)
    ]


async def test_another_tenant_or_mode_sees_nothing(stores: Stores) -> None:
    write, read = stores
    await with_each_outcome().into(write)
    for tenant, mode in (("other", "live"), ("acme", "test")):
        for fields in ({}, {"event_id": "bad"}, {"result": "rejected"}, {"event_type": "bot.done"}):
            assert await all_of(read, EventFilter(tenant=tenant, mode=mode, **fields)) == []  # type: ignore[arg-type]


async def test_unreadable_records_have_no_tenant_and_are_shown_to_the_operator(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for tenant in (7, "no tenant", "x" * 200):
        journal.rejected(journal.event(BEGUN_MS, tenant=tenant), "bad_tenant")
    journal.rejected(journal.event(BEGUN_MS, mode="beta"), "bad_mode")
    for value in (None, b"", b"{", b"[" * 100_000, b'"\x00"', b"[1]", b'{"type":{},"id":[],"tenant":"a\\u0000"}'):
        journal.append("events.raw", at_ms=BEGUN_MS, value=value)
        journal.rejected(journal.records["events.raw", 0][-1], "not_json")
    journal.append("events.raw", at_ms=BEGUN_MS, value=b"{}", headers=[("tenant", b"\xff")])
    portion = await journal.into(write)
    assert portion.unreadable == 0
    rows = await all_of(read, EVERYBODY)
    assert len(rows) == 12
    unnamed = await all_of(read, msgspec.structs.replace(EVERYBODY, tenants_except=frozenset(("default",))))
    assert {(each.tenant, each.mode) for each in unnamed} == {("", "")} and len(unnamed) == 5 + 1
    assert {each.reason for each in unnamed} == {"bad_tenant", "bad_mode", "not_json", None}


FIELDS: tuple[dict[str, Any], ...] = (
    {},
    {"tenant": "t1"},
    {"tenant": "t1", "mode": "test"},
    {"mode": "live"},
    {"event_id": "e3"},
    {"tenant": "t1", "mode": "live", "event_id": "e3", "result": "rejected"},
    {"event_type": "a.1"},
    {"event_type": "a.*"},
    {"tenant": "t0", "mode": "live", "event_type": "a.1", "result": "rejected"},
    {"tenant": "t0", "mode": "live", "event_type": "a.1", "result": "unmatched"},
    {"tenant": "t0", "event_type": "b.*"},
    {"result": "matched"},
    {"result": "unmatched"},
    {"result": "rejected"},
    {"result": "duplicate"},
    {"tenant": "t1", "mode": "live", "result": "duplicate"},
    {"tenant": "t1", "result": "matched"},
    {"since_ms": BEGUN_MS + 10, "until_ms": BEGUN_MS + 20},
    {"tenants_except": frozenset(("t0", "t2"))},
    {"types_except": frozenset(("a.0", "a.1"))},
    {"types_except": frozenset(())},
)


def fits(which: dict[str, Any], row: EventRow) -> bool:
    pattern = which.get("event_type", "*")
    since, until = which.get("since_ms", 0), which.get("until_ms", 2**60)
    return (
        all(getattr(row, name) == which[name] for name in ("tenant", "mode", "event_id", "result") if name in which)
        and (row.event_type.startswith(pattern[:-1]) if pattern.endswith("*") else row.event_type == pattern)
        and since <= row.at_ms < until
        and row.tenant not in which.get("tenants_except", ())
        and row.event_type not in which.get("types_except", ())
    )


def many() -> Journal:
    journal = Journal()
    for number in range(120):
        tenant, mode = f"t{number % 3}", "test" if number % 5 == 0 else "live"
        kind = "ab"[number % 2] + f".{number % 4}"
        record = journal.event(
            BEGUN_MS + number // 4, id=f"e{number % 30}", tenant=tenant, mode=mode, type=kind, partition=number % 2
        )
        match number % 7:
            case 0:
                journal.rejected(record)
            case 1:
                journal.duplicated(record, record)
            case 2:
                one = delivery(number, event_id=f"e{number % 30}", tenant=tenant, mode=mode)
                journal.handed(one, BEGUN_MS + number)
    return journal


@pytest.mark.parametrize("stretch", [paging.CHUNK, 3])
async def test_every_filter_on_pages_of_any_length(
    stores: Stores, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "CHUNK", stretch)
    write, read = stores
    await many().into(write)
    everything = await all_of(read, EVERYBODY)
    assert len(everything) == 120
    keys = [(each.at_ms, each.partition, each.offset) for each in everything]
    assert keys == sorted(keys, reverse=True)
    for fields in FIELDS:
        expected = [each for each in everything if fits(fields, each)]
        assert len(expected) < 120 or fields in ({}, FIELDS[-1])
        for limit in (1, 7, 120):
            assert await all_of(read, EventFilter(**fields), limit) == expected, fields
    with pytest.raises(ValueError, match="cursor"):
        await read.events(ACME, limit=5, cursor="bm9uc2Vuc2U")


async def test_no_query_scans_the_table_of_events(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for number in range(3000):
        record = journal.event(BEGUN_MS + number, id=f"e{number}", type=f"a.{number % 50}", partition=number % 2)
        if number % 10 == 0:
            journal.rejected(record)
    await journal.into(write)
    asked = statements(read)
    for fields in FIELDS:
        page = await read.events(EventFilter(**fields), limit=20)
        if page.cursor:
            await read.events(EventFilter(**fields), limit=20, cursor=page.cursor)
        plans = await plans_of(read, asked)
        assert plans and all(re.search(r"(INDEX|using) events_", plan) for plan in plans), plans
        assert [plan for plan in plans if WHOLE_TABLE.search(plan) or SORT.search(plan)] == []


async def test_old_events_go_before_their_deliveries(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    for number in range(30):
        journal.event(BEGUN_MS + number, id=f"evt_{number}")
        journal.attempted(delivery(number), BEGUN_MS + number)
    await journal.into(write)
    removed = 10
    while removed == 10:
        removed = await write.prune(BEGUN_MS + 25, audit_before_ms=1, limit=10)
        assert {each.result for each in await all_of(read, ACME)} == {"matched"}
    assert [each.event_id for each in await all_of(read, ACME)] == [f"evt_{number}" for number in (29, 28, 27, 26, 25)]


async def test_recent_types_are_those_of_the_latest_events(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    write, read = stores
    journal = Journal()
    for number, kind in enumerate(("a.1", "a.2", "a.3", "a.1")):
        journal.event(BEGUN_MS + number, id=f"e{number}", type=kind)
    journal.rejected(journal.event(BEGUN_MS + 9, id="bad", type="no type"))
    journal.event(BEGUN_MS + 10, id="x", type="of.another", tenant="other")
    await journal.into(write)
    asked = statements(read)
    assert await read.recent_types("acme", "live", limit=9) == ["a.1", "a.3", "a.2"]
    assert await read.recent_types("acme", "live", limit=1) == ["a.1"]
    assert await read.recent_types("acme", "test", limit=9) == []
    assert all("events_by_time" in plan for plan in await plans_of(read, asked))
    monkeypatch.setattr(event_list, "RECENT", 3)  # the rejected one is the first of them
    assert await read.recent_types("acme", "live", limit=9) == ["a.1", "a.3"]
