"""The pages that list events: of a tenant and mode, and the operator's over all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from app.core.readmodel.rows import EventRow
from tests.dashboard.stage import Browser, Stage, open_stage

LIVE = "/ui/t/acme/live"


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with open_stage() as made:
        made.tenant("acme")
        yield made


def event_row(number: int, **fields: Any) -> EventRow:
    named = {"tenant": "acme", "mode": "live", "event_id": f"e{number}", "event_type": "a.b", "result": "matched"}
    return EventRow(partition=0, offset=number, at_ms=1000 + number, **named | fields)


async def test_events_are_listed_with_their_outcomes(stage: Stage, acme: Browser) -> None:
    bad = {"result": "rejected", "reason": "bad_type", "detail": "type <b>: no"}
    stage.reads.index = [event_row(1), event_row(2, result="duplicate"), event_row(3, **bad), event_row(4, mode="test")]
    status, page, _ = await acme.get(f"{LIVE}/events")
    assert status == 200 and "type &lt;b&gt;: no" in page and "<code>e4</code>" not in page
    assert f'href="{LIVE}/events/e1?partition=0&amp;offset=1"' in page
    _, page, _ = await acme.get(f"{LIVE}/events?outcome=duplicate&id=e2")
    assert "<code>e2</code>" in page and "<code>e1</code>" not in page
    _, page, _ = await acme.get(f"{LIVE}/events?type=other.*")
    assert "No events match" in page
    assert (await acme.get(f"{LIVE}/events?outcome=lost"))[0] == 422
    stage.reads.index = [event_row(number) for number in range(51)]
    _, page, _ = await acme.get(f"{LIVE}/events?type=a.*")
    assert 'href="?type=a.%2A&amp;cursor=50"' in page


async def test_the_operator_sees_events_of_all_and_of_unknown_tenants(stage: Stage, operator: Browser) -> None:
    lost = event_row(2, tenant="", mode="", event_id="", event_type="", result="rejected", reason="r", detail="why")
    stage.reads.index = [event_row(1), lost, event_row(3, tenant="typo", result="unmatched")]
    status, page, _ = await operator.get("/ui/events")
    assert status == 200 and "partition 0, offset 2" in page and "/ui/t/typo/live/events/e3" in page
    _, page, _ = await operator.get("/ui/events?unknown=tenant")
    assert "/events/e3" in page and "/events/e1" not in page
    stage.reads.index.append(event_row(4, tenant="", mode="", event_id="bad", result="rejected", reason="r"))
    status, page, _ = await operator.get("/ui/events/bad?partition=0&offset=4")
    assert status == 200 and "The event belongs to no tenant" in page


async def test_a_tenant_does_not_see_the_events_of_all(acme: Browser) -> None:
    assert (await acme.get("/ui/events"))[0] == 403
