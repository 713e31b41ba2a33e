"""Nothing that comes from outside becomes markup on a page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio

from app.core.model.event_types import EventType
from app.core.model.http_exchange import HttpReply, HttpTiming
from app.core.model.tenant import Brand, Tenant
from app.core.readmodel.rows import AttemptRow, DeliveryRow, HourRow, NoticeRow
from tests.dashboard.attack_stage import LIVE, SCRIPT, address, attacked_stage, entries, portal_of, replay
from tests.dashboard.stage import KEYS, OPERATOR, Stage, browser


@pytest_asyncio.fixture
async def stage() -> AsyncIterator[Stage]:
    async with attacked_stage() as attacked:
        yield attacked


def hostile(stage: Stage) -> None:
    """Everything that comes from outside holds a script."""
    directory, now = stage.feed.directory, stage.clock.now_ms()
    brand = Brand(name=SCRIPT[:60], color="#336699", logo="https://logo.example/a.png")
    directory.put_tenant(Tenant(id="acme", name=SCRIPT, brand=brand))
    stage.endpoint(
        description=SCRIPT, headers={"X-A": SCRIPT}, status="disabled", status_reason=SCRIPT, metadata={"a": SCRIPT}
    )
    directory.put_event_type(
        EventType(
            name="own.type",
            tenant="acme",
            mode="live",
            description=SCRIPT,
            schema=f'{{"title": {msgspec.json.encode(SCRIPT).decode()}}}',
        )
    )
    directory.put_replay(
        msgspec.structs.replace(replay("acme", "live", "rpl_ep_1"), messages=(SCRIPT,), types=(SCRIPT,))
    )
    common: dict[str, Any] = {"endpoint_id": "ep_1", "event_id": SCRIPT, "event_type": SCRIPT, "created_at_ms": now}
    row = DeliveryRow(
        id="dl_1",
        tenant="acme",
        mode="live",
        state="dead",
        attempts=1,
        updated_at_ms=now,
        status=500,
        result=SCRIPT,
        error=SCRIPT,
        reason=SCRIPT,
        ordering_key=SCRIPT,
        duration_ms=3.0,
        replay_id=SCRIPT,
        **common,
    )
    for each in (
        row,
        msgspec.structs.replace(row, id="dl_2", endpoint_id=SCRIPT),
        msgspec.structs.replace(row, id="dl_3", event_id="evt_x"),
    ):
        stage.reads.rows.append(each)
    stage.reads.tries["dl_1"] = [
        AttemptRow(
            delivery_id="dl_1",
            number=1,
            trigger=SCRIPT,
            state="dead",
            result=SCRIPT,
            started_at_ms=now,
            duration_ms=1,
            error=SCRIPT,
            response_headers={SCRIPT: SCRIPT},
            response_body=SCRIPT,
            status=500,
        )
    ]
    stage.reads.by_hour["acme", "live", None] = [HourRow(begins_ms=now // 3_600_000 * 3_600_000, attempts=3)]
    stage.reads.told += [
        NoticeRow(id="n", tenant="acme", mode="live", kind="x", at_ms=now, endpoint_id=None, summary=SCRIPT, data={})
    ]


async def test_nothing_from_outside_becomes_markup_on_any_page(stage: Stage) -> None:
    hostile(stage)
    portal = await portal_of(stage)
    ids = {"/deliveries/{id}": "dl_1", "/events/{id}": "evt_x", "/event-types/{name}": "own.type"}
    seen = 0
    async with browser(stage, OPERATOR) as operator:
        for base in (LIVE, portal):
            for entry in entries("read", "write", method="GET"):
                if entry.path.endswith("live") or (base == portal and entry.path == "/declare-event-type"):
                    continue
                path = re.sub(r"\{\w+\}", ids.get(entry.path, ""), base + entry.path)
                path = path if entry.path in ids else address(entry, base)
                for query in ("", "?q=%22%3E%3Cscript%3E", "?since=%3Cscript%3E&state=%3Cscript%3E&type=%3Cscript%3E"):
                    status, text, _ = await operator.get(path + query)
                    wrong_since = entry.path == "/events/{id}" and "since" in query  # which is obeyed there
                    assert status == 400 if wrong_since else status in (200, 422), (status, path)
                    assert "<script>" not in text and "<img src=x" not in text and "'49" not in text, path
                    seen += text.count("&lt;script&gt;")
        own = f"{LIVE}/declare-event-type?name=own.type"
        for path in ("/ui/overview", "/ui/search?q=%22%3E%3Cscript%3Ealert", "/ui/search?q=acme", own):
            status, text, _ = await operator.get(path)
            assert status == 200 and "<script>" not in text and "<img src=x" not in text, path
            seen += text.count("&lt;script&gt;")
    assert seen > 40, "the scripts are there as text"


async def test_the_answer_to_a_test_is_text(stage: Stage) -> None:
    endpoint = stage.endpoint()
    answer = HttpReply(
        status=500,
        headers=(("x-a", SCRIPT),),
        body=SCRIPT.encode() + b"\xff\x00</textarea></pre>",
        truncated=False,
        timing=HttpTiming(),
    )
    stage.sender.script(endpoint.url, answer)
    async with browser(stage, KEYS["acme", "live"]) as acme:
        form = {"type": "ping", "data": msgspec.json.encode({"a": SCRIPT}).decode()}
        _, page, _ = await acme.post(f"{LIVE}/endpoints/ep_1/test", form)
        assert "<script>" not in page and "<img src=x" not in page and page.count("</pre>") == 2
        assert page.count("&lt;script&gt;") >= 3
