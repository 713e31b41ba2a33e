"""The pages over the read model: overview, deliveries by a filter in the address, timeline, dead letters, tail."""

from __future__ import annotations

from asyncio import timeout
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from app.ports.readmodel import LATENCY_BOUNDS_MS, AttemptRow, DeadGroup, DeliveryRow, Hour
from app.roles.api.ui.hours import percentile, summary
from tests.fakes.clock import settle
from tests.roles.ui_stage import KEYS, Browser, Stage, browser, open_stage

LIVE = "/ui/t/acme/live"
HOUR = 3_600_000


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as found:
        found.endpoint()
        now = found.clock.now_ms()
        for number, (state, status, event_type) in enumerate(
            [("delivered", 200, "user.created"), ("dead", 500, "user.created"), ("retrying", 404, "ping")]
        ):
            made = row(f"dl_{number}", now - number, state=state, status=status, event_type=event_type)
            found.reads.rows.append(made)
        found.reads.rows.append(row("dl_9", now, tenant="other"))
        yield found


@pytest_asyncio.fixture
async def acme(stage: Stage) -> AsyncIterator[Browser]:
    async with browser(stage, KEYS["acme", "live"]) as somebody:
        yield somebody


def row(id_: str, at_ms: int, **fields: Any) -> DeliveryRow:
    given = {"tenant": "acme", "mode": "live", "state": "delivered", "event_type": "ping", "status": 200,
             "result": "http_5xx" if fields.get("status") == 500 else "ok", **fields}  # fmt: skip
    return DeliveryRow(id=id_, endpoint_id="ep_1", event_id=f"evt_of_{id_}", attempts=1, created_at_ms=at_ms,
                       updated_at_ms=at_ms, duration_ms=12, **given)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [("", {"dl_0", "dl_1", "dl_2"}), ("state=dead", {"dl_1"}), ("state=dead,retrying", {"dl_1", "dl_2"}),
     ("status=5xx", {"dl_1"}), ("status=404", {"dl_2"}), ("type=user.*", {"dl_0", "dl_1"}),
     ("id=evt_of_dl_0", {"dl_0"}), ("event=evt_of_dl_2", {"dl_2"}), ("result=http_5xx", {"dl_1"}),
     ("endpoint=ep_2", set()), ("since=1h", {"dl_0", "dl_1", "dl_2"}), ("until=1h", set())],
)  # fmt: skip
async def test_the_address_is_the_filter(acme: Browser, query: str, found: set[str]) -> None:
    status, page, _ = await acme.get(f"{LIVE}/deliveries?{query}")
    assert status == 200
    assert {f"dl_{each}" for each in (0, 1, 2, 9) if f'data-id="dl_{each}"' in page} == found
    assert found or "Nothing fits" in page


@pytest.mark.parametrize("query", ["status=9xx", "status=1", "since=yesterday", "state=x", "cursor=x"])
async def test_a_filter_that_cannot_be_is_explained(acme: Browser, query: str) -> None:
    status, page, _ = await acme.get(f"{LIVE}/deliveries?{query}")
    assert status == 422 and 'role="alert"' in page and "<h1>Deliveries</h1>" in page


async def test_the_next_page_goes_on_with_the_same_filter(stage: Stage, acme: Browser) -> None:
    stage.reads.rows = [row(f"dl_{each}", each, state="dead") for each in range(60)]
    _, page, _ = await acme.get(f"{LIVE}/deliveries?state=dead")
    assert page.count("data-id=") == 50 and 'href="?state=dead&amp;cursor=50"' in page
    _, page, _ = await acme.get(f"{LIVE}/deliveries?state=dead&cursor=50")
    assert page.count("data-id=") == 10 and "cursor=" not in page.partition("<main")[2]


async def test_a_delivery_shows_each_attempt_and_what_came_back(stage: Stage, acme: Browser) -> None:
    at = stage.clock.now_ms()
    stage.reads.tries["dl_1"] = [
        AttemptRow(delivery_id="dl_1", number=1, trigger="first", state="retrying", result="timeout", started_at_ms=at,
                   duration_ms=20_000, error="No answer within 20 s."),
        AttemptRow(delivery_id="dl_1", number=2, trigger="retry", state="dead", result="http_5xx", status=500,
                   started_at_ms=at, duration_ms=7, connect_ms=3, first_byte_ms=4,
                   response_headers={"server": "apache"}, response_body="it broke"),
    ]  # fmt: skip
    status, page, _ = await acme.get(f"{LIVE}/deliveries/dl_1")
    assert status == 200
    for text in ("No answer in time", "No answer within 20 s.", "20 s", "The receiver failed", "server: apache",
                 "it broke", "connect 3 ms"):  # fmt: skip
        assert text in page, text
    assert (await acme.get(f"{LIVE}/deliveries/dl_9"))[0] == 404


async def test_dead_letters_are_grouped_and_lead_to_a_replay(stage: Stage, acme: Browser) -> None:
    now = stage.clock.now_ms()
    stage.reads.groups["acme", "live"] = [
        DeadGroup(endpoint_id="ep_1", reason="exhausted", result="http_5xx", count=12, first_ms=now, last_ms=now)
    ]
    status, page, _ = await acme.get(f"{LIVE}/dead")
    assert status == 200 and ">12</a>" in page and "replays/new?only=failed&amp;endpoint=ep_1&amp;from=7d" in page
    await stage.clock.advance(60)
    assert "Nothing was given up" in (await acme.get(f"{LIVE}/dead?since=30s"))[1]


async def test_the_overview_counts_the_last_day(stage: Stage, acme: Browser) -> None:
    begin = stage.clock.now_ms() // HOUR * HOUR
    stage.reads.by_hour["acme", "live", None] = [
        Hour(begins_ms=begin - 30 * HOUR, attempts=99),
        Hour(begins_ms=begin - HOUR, attempts=8, failed_attempts=2, delivered=6, durations=[6, 2] + [0] * 11),
        Hour(begins_ms=begin, attempts=2, failed_attempts=0, delivered=2, dead=1, durations=[2] + [0] * 12),
    ]
    _, page, _ = await acme.get(f"{LIVE}/overview")
    for text in ("80 %", ">8</b> delivered", ">1</b> given up", "10 in all, 2 failed"):
        assert text in page, text


def test_percentiles_are_bounds_of_the_counted_durations() -> None:
    counts = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    assert percentile(counts, 0.5) is None
    counts[1], counts[3] = 98, 2
    assert (percentile(counts, 0.5), percentile(counts, 0.99)) == (10, 50)
    counts[-1] = 1000
    assert percentile(counts, 0.5) is None, "longer than the last bound"
    assert summary([], 0, 3).points == [[0, 3600, 7200], [0, 0, 0], [0, 0, 0]]


async def test_the_tail_shows_new_rows_to_all_who_look_with_one_question(stage: Stage, acme: Browser) -> None:
    asked = stage.reads.asked
    path = f"{stage.url}{LIVE}/deliveries/live"
    async with (
        timeout(10),
        browser(stage, KEYS["other", "live"]) as other,
        acme.http.get(path) as first,
        acme.http.get(path) as second,
        other.http.get(f"{stage.url}/ui/t/other/live/deliveries/live") as foreign,
    ):
        assert first.content_type == "text/event-stream" and "no-store" in first.headers["Cache-Control"]
        for stream in (first, second, foreign):
            assert b"retry" in await stream.content.readuntil(b"\n\n")
        while stage.reads.asked < asked + 2:
            await settle()
        stage.reads.rows.append(row("dl_new", stage.clock.now_ms() + 5, state="retrying"))
        await stage.clock.advance(1.1)
        assert stage.reads.asked == asked + 4, "one question for each tenant and look"
        for stream in (first, second):
            frame = (await stream.content.readuntil(b"\n\n")).decode()
            assert "event: rows" in frame and 'data-id="dl_new"' in frame and "dl_1" not in frame
        await stage.clock.advance(16)
        assert b": beat" in await foreign.content.readuntil(b"\n\n"), "nothing of acme's reached the other tenant"
