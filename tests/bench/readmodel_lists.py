"""What lists cost beside few and beside many attempts, and how the database goes about them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import msgspec

from app.adapters.sql.database import Database
from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.readmodel.batch import CountedRequest, ProjectionBatch
from app.core.readmodel.rows import DeliveryFilter
from app.core.readmodel.snapshot import DeliveryFact
from app.ports.readmodel import OffsetAdvance
from tests.contracts.query_plans import SCAN, plans_of, statements

_HOUR_MS = 3_600_000
#: the day that the hours of now end: what pages show of "the last 24 hours"
BEGUN_MS = int(time.time() * 1000) // _HOUR_MS * _HOUR_MS - 23 * _HOUR_MS
#: from one delivery to the next: five million fill that day
_APART_MS = 16
_BATCH = 250_000
_ENDPOINTS = 500
_TENANTS = 5
_ROUNDS = 15
_PARTITIONS = 12
#: of so many deliveries one dies, and one waits for its retry: those of every tenant and endpoint alike
_CYCLE, _DEAD, _RETRYING = 97, 7, 13

ACME = DeliveryFilter(tenant="t0", mode="live")
QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("first page", {}),
    ("one endpoint", {"endpoint_id": "ep_0"}),
    ("one endpoint, dead", {"endpoint_id": "ep_0", "states": ("dead",)}),
    ("dead", {"states": ("dead",)}),
    ("waiting", {"states": ("pending", "retrying")}),
    ("one type", {"event_type": "recording.3"}),
    ("types by prefix", {"event_type": "recording.*"}),
    ("status 5xx", {"status": (500, 599)}),
    ("a status that never was", {"status": (418, 418)}),
    ("a type that never was, by prefix", {"event_type": "none.*"}),
    ("one event", {"event_id": "evt_5"}),
    ("an id", {"any_id": "evt_5"}),
)


class Answer(msgspec.Struct, frozen=True):
    """A question's times."""

    median_ms: float
    slowest_ms: float


class Lists(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one database."""

    database: str
    attempts: int
    answers: dict[str, Answer]
    #: statements that would look through a table
    scans: list[str]
    plans: list[str]


async def measure(database: Database, sizes: Sequence[int], said: Callable[[str], None]) -> list[Lists]:
    """Fill to each size, and ask."""
    write, read = SqlProjectionStore(database), SqlReadStore(database)
    await write.prepare()
    await _count_hours(write)
    done, found = 0, []
    for size in sizes:
        begun, already = time.perf_counter(), done
        while done < size:
            await _fill(database, done, min(size, done + _BATCH))
            done = min(size, done + _BATCH)
            said(f"{database.name}: {done:,} attempts, {(done - already) / (time.perf_counter() - begun):,.0f}/s")
        if not database.is_sqlite:
            async with database.writing() as connection:
                await connection.exec_driver_sql("ANALYZE")
        asked = statements(read)
        answers = {name: await timed(partial(ask, read)) for name, ask in _questions().items()}
        plans = await plans_of(read, asked)
        scans = sorted({plan for plan in plans if SCAN.search(plan)})
        found.append(
            Lists(
                database="SQLite" if database.is_sqlite else "PostgreSQL",
                attempts=done,
                answers=answers,
                scans=scans,
                plans=sorted(set(plans)),
            )
        )
    await write.close()
    return found


async def _page(which: DeliveryFilter, read: SqlReadStore) -> object:
    return await read.deliveries(which, limit=50)


def _questions() -> dict[str, Callable[[SqlReadStore], Awaitable[object]]]:
    asked: dict[str, Callable[[SqlReadStore], Awaitable[object]]] = {}
    for name, fields in QUESTIONS:
        which = msgspec.structs.replace(ACME, **fields)
        asked[name] = partial(_page, which)
    asked["a page in the middle"] = _middle
    asked["count up to 1,000"] = lambda read: read.count(ACME, at_most=1000)
    asked["attempts of one"] = lambda read: read.attempts("t0", "live", id_of(5))
    asked["a tenant's day by hours"] = lambda read: read.hours(
        "t0", "live", endpoint_id=None, since_ms=BEGUN_MS, until_ms=BEGUN_MS + 86_400_000
    )
    asked["dead ones by reason"] = lambda read: read.dead_groups("t0", "live", since_ms=0, limit=20)
    return asked


async def _middle(read: SqlReadStore) -> object:
    half = await read.deliveries(msgspec.structs.replace(ACME, until_ms=BEGUN_MS + 50_000 * _APART_MS), limit=1)
    return await read.deliveries(ACME, limit=50, cursor=half.cursor)


async def timed(ask: Callable[[], Awaitable[object]]) -> Answer:
    """Ask again and again."""
    times = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        await ask()
        times.append((time.perf_counter() - begun) * 1000)
    return Answer(median(times), max(times))


def id_of(number: int) -> str:
    """The id of the delivery with that number."""
    return f"dlv_{10**10 + number * _SPREAD % 2**32}"


async def _fill(database: Database, begin: int, end: int) -> None:
    """Rows made inside the database: the role's way takes an hour for millions. Ids are spread as real ones are."""
    async with database.writing() as connection:
        for table, columns in (("deliveries", _DELIVERY), ("attempts", _ATTEMPT)):
            names = ", ".join(f'"{name}"' for name in columns)
            made = ", ".join(columns.values())
            await connection.exec_driver_sql(
                f"INSERT INTO {table} ({names}) SELECT {made} FROM ({_numbers(database, begin, end)}) AS numbers"
            )


def _numbers(database: Database, begin: int, end: int) -> str:
    if database.is_sqlite:
        more = f"SELECT n + 1 FROM c WHERE n < {end - 1}"
        return f"WITH RECURSIVE c(n) AS (VALUES ({begin}) UNION ALL {more}) SELECT n FROM c"
    return f"SELECT CAST(g AS bigint) AS n FROM generate_series({begin}, {end - 1}) AS g"


#: large enough, and prime to 2**32: each number once, in no order
_SPREAD = 2_654_435_761
_ID = f"'dlv_' || CAST({10**10} + n * {_SPREAD} % {2**32} AS TEXT)"
_STATE = f"CASE n % {_CYCLE} WHEN {_DEAD} THEN 'dead' WHEN {_RETRYING} THEN 'retrying' ELSE 'delivered' END"
_AT = f"{BEGUN_MS} + {_APART_MS} * n"
_IS_OK = f"n % {_CYCLE} NOT IN ({_DEAD}, {_RETRYING})"
_STATUS = f"CASE WHEN {_IS_OK} THEN 200 ELSE 503 END"
_RESULT = f"CASE WHEN {_IS_OK} THEN 'ok' ELSE 'http_5xx' END"
_DELIVERY = {
    "id": _ID,
    "tenant": f"'t' || CAST(n % {_TENANTS} AS TEXT)",
    "mode": "'live'",
    "endpoint_id": f"'ep_' || CAST(n % {_ENDPOINTS} AS TEXT)",
    "event_id": "'evt_' || CAST(n AS TEXT)",
    "event_type": "'recording.' || CAST(n % 11 AS TEXT)",
    "state": _STATE,
    "attempts": "1",
    "created_at_ms": _AT,
    "updated_at_ms": f"{_AT} + 20",
    "status": _STATUS,
    "result": _RESULT,
    "duration_ms": "20.0",
    "reason": f"CASE n % {_CYCLE} WHEN {_DEAD} THEN 'exhausted' END",
    "source_partition": "n % 12",
    "source_offset": "n",
    "revision": "0",
    "stage": "1",
    "rank": f"4 * ({_AT})",
    "last_number": "1",
    "last_rank": f"4 * ({_AT})",
}
_ATTEMPT = {
    "partition": "n % 12",
    "offset": "n",
    "delivery_id": _ID,
    "number": "1",
    "trigger": "'first'",
    "state": _STATE,
    "result": _RESULT,
    "started_at_ms": _AT,
    "duration_ms": "20.0",
    "connect_ms": "1.0",
    "first_byte_ms": "19.0",
    "url": "'https://customer.example/hooks/receiver'",
    "status": _STATUS,
    "response_body": """'{"received":true}'""",
}


async def _count_hours(write: SqlProjectionStore) -> None:
    """A day of all endpoints."""
    portion = ProjectionBatch()
    for number in range(_ENDPOINTS * 24 * _PARTITIONS):
        at_ms = BEGUN_MS + number % 24 * _HOUR_MS
        endpoint, part = f"ep_{number // 24 % _ENDPOINTS}", number % _PARTITIONS
        fact = DeliveryFact(
            id=f"{endpoint}/{number}",
            tenant=f"t{number % _TENANTS}",
            mode="live",
            endpoint_id=endpoint,
            event_id=str(number),
            event_type="recording.3",
            accepted_at_ms=at_ms,
            replay_id=None,
            sequence=None,
            ordering_key=None,
            source=None,
            kind="attempt",
            at_ms=at_ms,
            state="retrying",
            attempts=1,
        )
        portion.requests.append(CountedRequest(fact, part, ok=True, duration_ms=20.0))
    await write.offsets([("bench", 0)])
    assert await write.write(portion, {("bench", 0): OffsetAdvance(0, 1, BEGUN_MS)})
