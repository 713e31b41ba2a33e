"""The pages over the read model: overview, deliveries by a filter in the address, timeline, dead letters, tail."""

from __future__ import annotations

import re
from asyncio import timeout
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from app.core.model.delivery import Delivery
from app.core.readmodel.rows import AttemptRow, DeliveryRow, HourRow
from app.core.records import delivery
from app.core.records.attempt import Attempt
from app.core.topics.names import TopicName
from app.dashboard.hourly_charts import summary
from tests.dashboard.stage import KEYS, Browser, Stage, browser, open_stage
from tests.fakes.clock import settle

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


def row(id_: str, at_ms: int, **fields: Any) -> DeliveryRow:
    given = {
        "tenant": "acme",
        "mode": "live",
        "state": "delivered",
        "event_type": "ping",
        "status": 200,
        "result": "http_5xx" if fields.get("status") == 500 else "ok",
        **fields,
    }
    return DeliveryRow(
        id=id_,
        endpoint_id="ep_1",
        event_id=f"evt_of_{id_}",
        attempts=1,
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
        duration_ms=12,
        **given,
    )


def accepted(stage: Stage, id_: str, **fields: Any) -> None:
    """A delivery whose event is in the log."""
    value = {"type": "ping", "id": f"evt_of_{id_}", "tenant": "acme", "data": {"text": "<b>x"}}
    event = stage.log.put("events.raw", value=msgspec.json.encode(value))
    made = row(id_, stage.clock.now_ms(), **fields)
    stage.reads.rows = [each for each in stage.reads.rows if each.id != id_]
    stage.reads.rows.append(msgspec.structs.replace(made, source=(event.partition, event.offset)))


def appended(stage: Stage) -> list[Delivery]:
    """What was appended to `deliveries`."""
    return [delivery.decode(each.key, each.value, each.headers)[0] for each in stage.log.of("deliveries")]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"dl_0", "dl_1", "dl_2"}),
        ("state=dead", {"dl_1"}),
        ("state=dead,retrying", {"dl_1", "dl_2"}),
        ("status=5xx", {"dl_1"}),
        ("status=404", {"dl_2"}),
        ("type=user.*", {"dl_0", "dl_1"}),
        ("id=evt_of_dl_0", {"dl_0"}),
        ("event=evt_of_dl_2", {"dl_2"}),
        ("result=http_5xx", {"dl_1"}),
        ("endpoint=ep_2", set()),
        ("since=1h", {"dl_0", "dl_1", "dl_2"}),
        ("until=1h", set()),
    ],
)
async def test_the_address_is_the_filter(acme: Browser, query: str, found: set[str]) -> None:
    status, page, _ = await acme.get(f"{LIVE}/deliveries?{query}")
    assert status == 200
    assert {f"dl_{each}" for each in (0, 1, 2, 9) if f'data-id="dl_{each}"' in page} == found
    assert found or "No deliveries match" in page


@pytest.mark.parametrize("query", ["status=9xx", "status=1", "since=yesterday", "state=x", "cursor=x"])
async def test_an_invalid_filter_is_explained(acme: Browser, query: str) -> None:
    status, page, _ = await acme.get(f"{LIVE}/deliveries?{query}")
    assert status == 422 and 'role="alert"' in page and "<h1>Deliveries</h1>" in page


async def test_the_next_page_keeps_the_filter(stage: Stage, acme: Browser) -> None:
    stage.reads.rows.clear()
    for each in range(60):
        stage.reads.rows.append(row(f"dl_{each}", each, state="dead"))
    _, page, _ = await acme.get(f"{LIVE}/deliveries?state=dead")
    onward = re.search(r'href="(\?state=dead&amp;cursor=[^"]+)"', page)
    assert page.count("data-id=") == 50 and onward
    _, page, _ = await acme.get(f"{LIVE}/deliveries{onward[1].replace('&amp;', '&')}")
    assert page.count("data-id=") == 10 and "cursor=" not in page.partition("<main")[2]


async def test_a_delivery_shows_each_attempt_and_what_came_back(stage: Stage, acme: Browser) -> None:
    at = stage.clock.now_ms()
    stage.reads.tries["dl_1"] = [
        AttemptRow(
            delivery_id="dl_1",
            number=1,
            trigger="first",
            state="retrying",
            result="timeout",
            started_at_ms=at,
            duration_ms=20_000,
            error="No answer within 20 s.",
        ),
        AttemptRow(
            delivery_id="dl_1",
            number=2,
            trigger="retry",
            state="dead",
            result="http_5xx",
            status=500,
            started_at_ms=at,
            duration_ms=7,
            connect_ms=3,
            first_byte_ms=4,
            response_headers={"server": "apache"},
            response_body="it broke",
        ),
    ]
    status, page, _ = await acme.get(f"{LIVE}/deliveries/dl_1")
    assert status == 200
    for text in (
        "No answer in time",
        "No answer within 20 s.",
        "20 s",
        "The receiver failed",
        "server: apache",
        "it broke",
        "connect 3 ms",
    ):
        assert text in page, text
    assert (await acme.get(f"{LIVE}/deliveries/dl_9"))[0] == 404


async def test_a_delivery_is_retried_and_cancelled(stage: Stage, acme: Browser) -> None:
    accepted(stage, "dl_1", state="dead")
    status, page, _ = await acme.get(f"{LIVE}/deliveries/dl_1")
    assert status == 200 and "Retry now" in page and "/cancel" not in page
    assert (await acme.post(f"{LIVE}/deliveries/dl_1/retry"))[0] == 303
    assert [each.id for each in appended(stage)] == ["dl_1"]
    accepted(stage, "dl_2", state="retrying")
    assert "/deliveries/dl_2/cancel" in (await acme.get(f"{LIVE}/deliveries/dl_2"))[1]
    assert (await acme.post(f"{LIVE}/deliveries/dl_2/cancel"))[0] == 303
    stage.endpoint(status="disabled")
    status, page, _ = await acme.post(f"{LIVE}/deliveries/dl_1/retry")
    assert status == 409 and "the endpoint is disabled: enable it first" in page


async def test_dead_letters_are_grouped_and_a_group_is_retried(stage: Stage, acme: Browser) -> None:
    for number in range(3):
        accepted(stage, f"dl_{number}", state="dead", status=500, reason="exhausted")
    stage.reads.rows.append(row("dl_gone", stage.clock.now_ms(), state="dead", status=500, reason="exhausted"))
    status, page, _ = await acme.get(f"{LIVE}/dead")
    assert status == 200 and ">4</a>" in page and "exhausted" in page
    form = {"endpoint": "ep_1", "result": "http_5xx", "since": "7d"}
    status, page, _ = await acme.post(f"{LIVE}/dead/retry", form)
    assert status == 200 and "3 deliveries are retried." in page and "1 not: event gone." in page
    assert {each.id for each in appended(stage)} == {"dl_0", "dl_1", "dl_2"}
    assert f'method="get" action="{LIVE}/dead"' in page, "the address is now that of the form that was sent"
    await stage.clock.advance(60)
    assert "No dead letters" in (await acme.get(f"{LIVE}/dead?since=30s"))[1]


async def test_a_group_of_dead_letters_is_discarded_with_a_reason(stage: Stage, acme: Browser) -> None:
    stage.reads.rows.clear()
    for number, reason in enumerate(("exhausted", "exhausted", "gone")):
        accepted(stage, f"dl_{number}", state="dead", status=500, reason=reason)
    _, page, _ = await acme.get(f"{LIVE}/dead")
    assert 'data-ask="Discard 2 deliveries?' in page and "required" in page
    form = {"endpoint": "ep_1", "reason": "exhausted", "result": "http_5xx", "since": "7d"}
    status, page, _ = await acme.post(f"{LIVE}/dead/discard", form | {"why": " "})
    assert status == 422 and "say why" in page and not stage.log.of(TopicName.ATTEMPTS)
    status, page, _ = await acme.post(f"{LIVE}/dead/discard", form | {"why": "test data"})
    assert status == 200 and "2 deliveries are discarded." in page
    records = [msgspec.json.decode(each.value or b"", type=Attempt) for each in stage.log.of(TopicName.ATTEMPTS)]
    assert {each.delivery_id for each in records} == {"dl_0", "dl_1"}


async def test_a_group_of_dead_letters_is_what_the_page_has_counted(stage: Stage, acme: Browser) -> None:
    now, day = stage.clock.now_ms(), 24 * HOUR
    stage.reads.rows.clear()
    for id_, reason, created, updated in (
        ("dl_late", "exhausted", now - 3 * day, now),
        ("dl_before", "exhausted", now - 3 * day, now - 2 * day),
        ("dl_gone", "gone", now, now),
    ):
        accepted(stage, id_, state="dead", status=500, reason=reason)
        made = stage.reads.rows.pop()
        stage.reads.rows.append(msgspec.structs.replace(made, created_at_ms=created, updated_at_ms=updated))
    _, page, _ = await acme.get(f"{LIVE}/dead?since=24h")
    assert page.count("Retry 1 delivery?") == 2
    form = {"endpoint": "ep_1", "reason": "exhausted", "result": "http_5xx", "since": "24h"}
    assert all(f'name="{name}" value="{value}"' in page for name, value in form.items())
    status, page, _ = await acme.post(f"{LIVE}/dead/retry", form)
    assert status == 200 and "1 delivery is retried." in page
    assert [each.id for each in appended(stage)] == ["dl_late"]


async def test_dead_letters_are_grouped_by_status_within_an_outcome(stage: Stage, acme: Browser) -> None:
    stage.reads.rows.clear()
    for id_, status in (("dl_0", 404), ("dl_1", 410), ("dl_2", 404)):
        accepted(stage, id_, state="dead", status=status, result="http_4xx", reason="exhausted")
    _, page, _ = await acme.get(f"{LIVE}/dead")
    assert page.index("404 Not found") < page.index("410 Gone")
    assert "Check the path" in page and "Bring it back" in page, "the advice follows from the status"
    assert "result=http_4xx&amp;status=410" in page
    form = {"endpoint": "ep_1", "reason": "exhausted", "result": "http_4xx", "status": "404", "since": "7d"}
    assert all(f'name="{name}" value="{value}"' in page for name, value in form.items())
    await acme.post(f"{LIVE}/dead/retry", form)
    assert {each.id for each in appended(stage)} == {"dl_0", "dl_2"}


async def test_a_filter_with_a_value_outside_the_lists_stays_in_the_form(acme: Browser) -> None:
    _, page, _ = await acme.get(f"{LIVE}/deliveries?state=dead,retrying&endpoint=ep_gone")
    assert "<option selected>dead,retrying</option>" in page and "<option selected>ep_gone</option>" in page


async def test_deliveries_are_reached_from_an_endpoints_page_also_after_a_form(stage: Stage, acme: Browser) -> None:
    for _, page, _ in (
        await acme.get(f"{LIVE}/endpoints/ep_1"),
        await acme.post(f"{LIVE}/endpoints/ep_1/rotate", {"key": "k"}),
    ):
        assert f'href="{LIVE}/deliveries/dl_1"' in page


async def test_an_event_without_deliveries_is_found_at_the_place_that_the_address_names(
    stage: Stage, acme: Browser
) -> None:
    value = {"type": "ping", "id": "evt_alone", "tenant": "acme", "data": 1}
    event = stage.log.put("events.raw", value=msgspec.json.encode(value))
    assert (await acme.get(f"{LIVE}/events/evt_alone"))[0] == 404
    at = f"partition={event.partition}&offset={event.offset}"
    assert (await acme.get(f"{LIVE}/events/evt_alone?{at}"))[0] == 200
    assert (await acme.get(f"{LIVE}/events/evt_alone?partition=1"))[0] == 400


async def test_the_id_of_an_event_may_have_a_slash(stage: Stage, acme: Browser) -> None:
    stage.reads.rows.append(msgspec.structs.replace(row("dl_5", 1), event_id="rec_1/created"))
    _, page, _ = await acme.get(f"{LIVE}/deliveries/dl_5")
    assert f'href="{LIVE}/events/rec_1%2Fcreated"' in page


async def test_an_event_shows_its_data_and_why_each_endpoint_got_it_or_not(stage: Stage, acme: Browser) -> None:
    stage.endpoint(id_="ep_2", events=("other.type",))
    accepted(stage, "dl_1")
    status, page, _ = await acme.get(f"{LIVE}/events/evt_of_dl_1")
    assert status == 200 and "&lt;b&gt;" in page and "<b>x" not in page
    assert "which does not include" in page and "deliveries/dl_1" in page
    assert (await acme.get(f"{LIVE}/events/evt_of_dl_9"))[0] == 404


async def test_the_overview_counts_the_last_day(stage: Stage, acme: Browser) -> None:
    begin = stage.clock.now_ms() // HOUR * HOUR
    for hour in (
        HourRow(begins_ms=begin - 30 * HOUR, attempts=99),
        HourRow(begins_ms=begin - HOUR, attempts=8, failed_attempts=2, delivered=6, durations=[6, 2] + [0] * 11),
        HourRow(begins_ms=begin, attempts=2, failed_attempts=0, delivered=2, dead=1, durations=[2] + [0] * 12),
    ):
        stage.reads.by_hour.setdefault(("acme", "live", None), []).append(hour)
    _, page, _ = await acme.get(f"{LIVE}/overview")
    for text in ("80 %", ">8</b> delivered", ">1</b> dead", "10 in all, 2 failed"):
        assert text in page, text


def test_hours_without_anything_are_filled_in() -> None:
    empty = summary([], 0, 3)
    assert empty.points == [[0, 3600, 7200], [0, 0, 0], [0, 0, 0]] and empty.p95_ms is None


async def test_one_query_shows_new_rows_to_all_viewers(stage: Stage, acme: Browser) -> None:
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
