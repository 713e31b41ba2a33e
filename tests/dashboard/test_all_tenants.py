"""The operator's overview over all tenants, and its search."""

from __future__ import annotations

from asyncio import timeout
from typing import Any

import pytest

from app.core.errors import Unavailable
from app.core.model.endpoint import OpenCircuit
from app.core.readmodel.rows import DeliveryRow, EventRow, HourRow
from app.dashboard.pages import all_tenants
from tests.dashboard.stage import KEYS, Browser, Stage, browser
from tests.patience import PATIENCE_S

HOUR = 3_600_000


def failed(stage: Stage, endpoint_id: str, tenant: str = "acme", **fields: Any) -> DeliveryRow:
    now_ms = stage.clock.now_ms()
    row = DeliveryRow(
        id=f"dl_{endpoint_id}",
        tenant=tenant,
        mode="live",
        endpoint_id=endpoint_id,
        event_id="e1",
        event_type="a.b",
        state="retrying",
        attempts=2,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        **fields,
    )
    stage.reads.rows.append(row)
    return row


def traffic(stage: Stage, tenant: str, **counts: Any) -> None:
    begins_ms = stage.clock.now_ms() // HOUR * HOUR
    stage.reads.by_hour[tenant, "live", None] = [HourRow(begins_ms=begins_ms, **counts)]


async def test_the_operator_begins_with_all_tenants(stage: Stage, operator: Browser) -> None:
    _, _, headers = await operator.get("/ui")
    assert headers["Location"] == "/ui/overview"
    traffic(stage, "acme", attempts=1200, failed_attempts=300, delivered=890, dead=10)
    traffic(stage, "other", attempts=5, delivered=5)
    status, page, _ = await operator.get("/ui/overview")
    assert status == 200
    for tile in ("<b>1,205</b> attempts", "<b>895</b> deliveries delivered", "<b>10</b> deliveries dead"):
        assert tile in page
    assert page.index('href="/ui/t/acme/live/overview"') < page.index('href="/ui/t/other/live/overview"')
    assert '<span class="chip warn">75 %</span>' in page and 'href="/ui/t/acme/live/dead?since=24h"' in page


async def test_failing_endpoints_have_tenant_last_failure_and_since_when(stage: Stage, operator: Browser) -> None:
    stage.endpoint(id_="ep_1", failing_since_ms=1_700_000_000_000)
    stage.endpoint("other", id_="ep_2", circuit=OpenCircuit(since_ms=1_700_000_060_000, probe_at_ms=2**42))
    stage.endpoint("other", id_="ep_3")
    failed(stage, "ep_1", status=503, result="http_5xx")
    failed(stage, "ep_2", "other", result="refused")
    failed(stage, "ep_3", "other", result="timeout")
    _, page, _ = await operator.get("/ui/overview")
    assert "2023-11-14T22:13:20" in page and "2023-11-14T22:14:20" in page
    assert 'href="/ui/t/acme/live/deliveries/dl_ep_1">503 Unavailable' in page
    assert 'href="/ui/t/other/live/endpoints/ep_2"' in page and "Connection refused" in page
    assert "ep_3" not in page, "it has failed once, and is not failing"
    stage.endpoint(id_="ep_1")
    _, page, _ = await operator.get("/ui/overview")
    assert "ep_1" not in page, "it has recovered"


async def test_an_endpoint_without_a_success_is_listed_before_it_counts_as_failing(
    stage: Stage, operator: Browser
) -> None:
    begins_ms = stage.clock.now_ms() // HOUR * HOUR
    for id_, failures in (("ep_1", 7), ("ep_2", 6)):
        stage.endpoint(id_=id_)
        stage.reads.by_hour["acme", "live", id_] = [HourRow(begins_ms=begins_ms, attempts=7, failed_attempts=failures)]
    gone = [HourRow(begins_ms=begins_ms, attempts=1, failed_attempts=1)]
    stage.reads.by_hour["acme", "live", "ep_gone"] = gone
    failed(stage, "ep_1", status=404, result="http_4xx")
    _, page, _ = await operator.get("/ui/overview")
    assert "no success</span>" in page and "7 attempts failed since" in page and "404 Not found" in page
    assert "ep_2" not in page and "ep_gone" not in page
    stage.endpoint(id_="ep_1", failing_since_ms=1_700_000_000_000)
    _, page, _ = await operator.get("/ui/overview")
    assert "no success</span>" not in page and page.count("/endpoints/ep_1") == 1


async def test_only_the_endpoints_that_began_to_fail_last_are_listed(stage: Stage, operator: Browser) -> None:
    for number in range(60):
        stage.endpoint(id_=f"ep_{number:02}", failing_since_ms=1_700_000_000_000 + number)
    _, page, _ = await operator.get("/ui/overview")
    assert "ep_59" in page and "ep_10" in page and "ep_09" not in page
    assert "The 50 that began to fail last, of 60." in page


async def test_more_events_than_are_counted_are_shown_as_more(
    stage: Stage, operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_tenants, "MAX_EVENTS", 2)
    now_ms = stage.clock.now_ms()
    stage.reads.index = [event(now_ms, number, result="matched") for number in range(2)]
    assert "<b>2</b> events" in (await operator.get("/ui/overview"))[1]
    stage.reads.index.append(event(now_ms, 3, result="rejected"))
    _, page, _ = await operator.get("/ui/overview")
    assert "<b>2+</b> events" in page and "<b>1</b> events rejected" in page


def event(at_ms: int, number: int, **fields: Any) -> EventRow:
    named = {"tenant": "acme", "mode": "live", "event_id": f"e{number}", "event_type": "a.b", **fields}
    return EventRow(partition=0, offset=number, at_ms=at_ms, **named)


async def test_without_the_read_model_failing_endpoints_are_shown(
    stage: Stage, operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(**_: object) -> None:
        raise Unavailable("no database")

    monkeypatch.setattr(stage.reads, "traffic", unavailable)
    stage.endpoint(failing_since_ms=1_700_000_000_000)
    status, page, _ = await operator.get("/ui/overview")
    assert status == 200 and "The read model is not available" in page and "ep_1" in page


async def test_the_overview_is_sent_again_when_it_has_changed(stage: Stage, operator: Browser) -> None:
    async with timeout(PATIENCE_S), operator.http.get(f"{stage.url}/ui/overview/live") as stream:
        assert b"retry" in await stream.content.readuntil(b"\n\n")
        assert "None. An endpoint is listed" in (await stream.content.readuntil(b"\n\n")).decode()
        stage.endpoint(failing_since_ms=1_700_000_000_000)
        await stage.clock.advance(10.1)
        frame = (await stream.content.readuntil(b"\n\n")).decode()
        assert "event: tables" in frame and "/endpoints/ep_1" in frame


async def test_the_search_covers_all_tenants(stage: Stage, operator: Browser) -> None:
    stage.tenant("acme", name="Acme Corporation")
    stage.endpoint(id_="ep_1", url="https://hooks.acme.example/in")
    stage.endpoint("other", id_="ep_2", url="https://other.example/in")
    stage.reads.index = [event(1000, 1, tenant="other", event_id="evt_7", result="matched")]

    async def hits(text: str) -> str:
        status, page, _ = await operator.get(f"/ui/search?q={text}")
        assert status == 200
        return page.split("<main", 1)[1]

    assert 'href="/ui/tenants/acme"' in await hits("CORPORATION")
    assert 'href="/ui/t/other/live/endpoints/ep_2"' in await hits("ep_2")
    page = await hits("Example/in")
    assert "endpoints/ep_1" in page and "endpoints/ep_2" in page
    assert 'href="/ui/t/other/live/events/evt_7?partition=0&amp;offset=1"' in await hits("evt_7")
    failed(stage, "ep_2", "other", result="timeout")
    assert 'href="/ui/t/other/live/deliveries/dl_ep_2">a.b</a>' in await hits("dl_ep_2")
    assert "No results" in await hits("nothing")
    assert "No results" not in await hits("")
    for number in range(30):
        stage.endpoint(id_=f"ep_many_{number}", url="https://many.example/")
    page = await hits("many.example")
    assert page.count("/endpoints/ep_many_") == 20 and "There are more" in page
    assert (await operator.get("/ui/search?q=" + "x" * 257))[0] == 422


async def test_customers_do_not_see_the_operators_page(stage: Stage) -> None:
    async with browser(stage, KEYS["acme", "live"]) as acme:
        for path in ("/ui/overview", "/ui/overview/live", "/ui/search?q=other"):
            assert (await acme.get(path))[0] == 403
        _, page, _ = await acme.get("/ui/t/acme/live/overview")
        assert "/ui/overview" not in page and "/ui/search" not in page
