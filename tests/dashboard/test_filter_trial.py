"""The page that tries a filter on recent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from app.core.errors import Unavailable
from app.core.readmodel.rows import EventRow
from tests.dashboard.attack_stage import portal_of
from tests.dashboard.stage import READ_ONLY, Browser, Stage, browser, hidden, open_stage

FILTERS = "/ui/t/acme/live/filters"
LARGE = '{"data": {"total": {"$gte": 100}}}'


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as made:
        made.tenant("acme")
        for number, total in enumerate((5, 500)):
            happened(made, number, {"total": total, "note": "<b>x"})
        yield made


def happened(stage: Stage, number: int, data: Any, tenant: str = "acme") -> None:
    """An event in the log and in the index."""
    value = {"type": "order.paid", "id": f"e{number}", "tenant": tenant, "data": data}
    record = stage.log.put("events.raw", value=msgspec.json.encode(value))
    stage.reads.index.append(
        EventRow(
            partition=record.partition,
            offset=record.offset,
            at_ms=1000 + number,
            tenant="acme",
            mode="live",
            event_id=f"e{number}",
            event_type="order.paid",
            result="matched",
        )
    )


async def test_each_event_shows_what_the_filter_decides_and_where_it_failed(stage: Stage, acme: Browser) -> None:
    status, page, _ = await acme.get(FILTERS)
    assert status == 200 and "events match" not in page
    status, page, _ = await acme.post(FILTERS, {"filter": LARGE})
    assert status == 200 and "<b>1 of 2</b> events match" in page
    assert "/data/total/$gte" in page and "data.total is 5, and not at least 100" in page
    _, part, _ = await acme.post(FILTERS, {"filter": LARGE}, HX_Request="true")
    assert "<b>1 of 2</b>" in part and "<h1>" not in part
    _, page, _ = await acme.post(FILTERS, {"filter": '{"data": {"note": "y"}}'})
    assert "&lt;b&gt;x" in page and "<b>x" not in page and "<b>0 of 2</b>" in page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not JSON"),
        ("[1]", "a filter is a JSON object"),
        ('{"data": {"$regex": "x"}}', "$regex"),
        ("[" * 10_000, "not JSON"),
        (json.dumps({"data": {f"f{number}": number for number in range(5_000)}}), "at most"),
    ],
)
async def test_what_is_no_filter_is_refused_and_stays_in_the_form(acme: Browser, text: str, sentence: str) -> None:
    status, page, _ = await acme.post(FILTERS, {"filter": text})
    assert status == 422 and sentence in page and "events match" not in page
    assert text[:100].replace('"', "&#34;") in page


async def test_events_that_kafka_no_longer_has_are_not_judged(stage: Stage, acme: Browser) -> None:
    named: dict[str, Any] = {"tenant": "acme", "mode": "live", "event_id": "old", "event_type": "a.b"}
    stage.reads.index.append(EventRow(partition=0, offset=999, at_ms=1, result="unmatched", **named))
    happened(stage, 7, {"total": 1000}, tenant="other")  # a recreated topic has other records at the same offsets
    _, page, _ = await acme.post(FILTERS, {"filter": LARGE})
    assert "<b>1 of 4</b>" in page and page.count("Kafka no longer has the event") == 2


async def test_values_that_a_tenant_hides_are_not_quoted(stage: Stage, acme: Browser) -> None:
    tenants = stage.feed.directory.tenants
    tenants["acme"] = msgspec.structs.replace(tenants["acme"], redact=("total",))
    _, page, _ = await acme.post(FILTERS, {"filter": LARGE})
    assert "/data/total/$gte" in page and "data.total is 5" not in page and "hides fields" in page


async def test_the_form_begins_with_the_filter_of_an_endpoint_of_the_tenant(stage: Stage, acme: Browser) -> None:
    endpoint = stage.endpoint(filter=json.loads(LARGE))
    _, page, _ = await acme.get(f"/ui/t/acme/live/endpoints/{endpoint.id}")
    assert f'href="{FILTERS}?endpoint={endpoint.id}"' in page
    _, page, _ = await acme.get(f"{FILTERS}?endpoint={endpoint.id}")
    assert "$gte" in page
    assert (await acme.get(f"{FILTERS}?endpoint=ep_of_nobody"))[0] == 404


async def test_readers_and_customers_of_the_portal_may_try_filters(stage: Stage) -> None:
    async with browser(stage, READ_ONLY) as reader:
        assert "<b>1 of 2</b>" in (await reader.post(FILTERS, {"filter": LARGE}))[1]
    portal = await portal_of(stage, scopes=["read"])
    async with browser(stage) as customer:
        customer.csrf = hidden((await customer.get(f"{portal}/filters"))[1], "csrf")
        assert "<b>1 of 2</b>" in (await customer.post(f"{portal}/filters", {"filter": LARGE}))[1]


async def test_without_the_read_model_the_page_says_so(
    stage: Stage, acme: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("no database")

    monkeypatch.setattr(stage.reads, "events", unavailable)
    status, page, _ = await acme.post(FILTERS, {"filter": LARGE})
    assert status == 200 and "events match" not in page and "cannot be read now" in page
