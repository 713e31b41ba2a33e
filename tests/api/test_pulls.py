"""Pull endpoints over the API: pages, waits, commits, and what is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from zlib import crc32

import aiohttp
import pytest

from app.api import pull_waits
from app.api.handlers import pulls
from app.api.server import pull_streams
from app.core.errors import CommandRefused
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.pull_cursor import LogPosition, cursor_text
from app.core.records import delivery as delivery_record
from app.core.topics.names import TopicName
from app.ports.pulls import PullCommit
from tests.api.read_stage import Stage
from tests.dashboard.stage import READ_ONLY, open_stage
from tests.fakes.clock import settle
from tests.fakes.pulled_delivery import append_pulled
from tests.patience import PATIENCE_S

HERE = crc32(b"puller") % 2


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    pull(made)
    return made


def pull(stage: Stage, id_: str = "puller", **fields: Any) -> Endpoint:
    return stage.endpoint(id_, kind="pull", url="", **fields)


def offer(stage: Stage, event_id: str, endpoint: str = "puller", **fields: Any) -> None:
    """A record that dispatch has appended."""
    body = fields.pop("body", b'{"type":"a.b","id":"%b","data":{"n": 1}}' % event_id.encode())
    append_pulled(stage.log, event_id, endpoint, body, partition=HERE, **fields)


def ids(page: Any) -> list[str]:
    return [each["id"] for each in page["data"]]


async def test_events_come_in_order_and_again_until_they_are_committed(stage: Stage) -> None:
    for event_id in ("e1", "e2", "e3"):
        offer(stage, event_id)
        offer(stage, "other", endpoint="someone")
    page = await stage.ask("pulls.events", of="puller", limit="2")
    assert ids(page) == ["e1", "e2"] and page["has_more"] and not page["truncated"]
    assert ids(await stage.ask("pulls.events", of="puller", cursor=page["cursor"])) == ["e3"]
    assert ids(await stage.ask("pulls.events", of="puller", limit="2")) == ["e1", "e2"], "nothing is committed"

    position = await stage.ask("pulls.commit", {"cursor": page["data"][0]["cursor"]}, of="puller")
    assert position["behind_at_most"] == 5 and position["committed_at"]
    assert ids(await stage.ask("pulls.events", of="puller")) == ["e2", "e3"]
    assert await stage.ask("pulls.committed", of="puller") == position


async def test_an_event_is_what_a_push_would_have_been(stage: Stage) -> None:
    offer(stage, "e1")
    (event,) = (await stage.ask("pulls.events", of="puller"))["data"]
    assert event["body"] == {
        "id": "e1",
        "type": "a.b",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {"n": 1},
    }
    assert event["headers"]["webhook-id"] == "e1" and event["headers"]["webhook-signature"].startswith("v1,")
    (event,) = (await stage.ask("pulls.events", of="puller", format="text"))["data"]
    assert '"data":{"n": 1}' in event["body"], "byte for byte"


async def test_an_event_that_has_expired_in_the_log_is_passed_over_without_its_body(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    offer(stage, "late", expires_at_ms=now_ms)
    offer(stage, "in-time", expires_at_ms=now_ms + 3_600_000)
    page = await stage.ask("pulls.events", of="puller")
    assert [(each["id"], (each["error"] or {}).get("reason")) for each in page["data"]] == [
        ("late", "expired"),
        ("in-time", None),
    ]
    assert page["data"][0]["body"] is None and page["data"][0]["headers"] == {}


async def test_a_wait_ends_with_the_next_event_or_in_time(stage: Stage) -> None:
    stage.clock.auto = False
    waiting = asyncio.ensure_future(stage.ask("pulls.events", of="puller", wait="30"))
    await stage.log.pulse.until(lambda: True)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done() and stage.services.pull_waits.open() == 1
    offer(stage, "other", endpoint="someone")
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    offer(stage, "e1")
    assert ids(await waiting) == ["e1"]
    stage.clock.auto = True
    empty = await stage.ask("pulls.events", of="puller", wait="30", cursor=(await waiting)["cursor"])
    assert not empty["data"] and not empty["has_more"] and stage.services.pull_waits.open() == 0


async def test_one_request_examines_a_bounded_part_of_the_log(stage: Stage) -> None:
    for _ in range(25):
        offer(stage, "other", endpoint="someone")
    offer(stage, "e1")
    page = await stage.ask("pulls.events", of="puller")
    assert not page["data"] and page["has_more"] and stage.pulls.scans == 1
    page = await stage.ask("pulls.events", of="puller", cursor=page["cursor"])
    assert not page["data"] and page["has_more"]
    assert ids(await stage.ask("pulls.events", of="puller", cursor=page["cursor"])) == ["e1"]


async def test_a_page_has_a_bounded_size(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "MAX_BODY_BYTES", 100)
    for event_id in ("e1", "e2", "e3"):
        offer(stage, event_id)
    page = await stage.ask("pulls.events", of="puller")
    assert ids(page) == ["e1", "e2"] and page["has_more"]
    assert ids(await stage.ask("pulls.events", of="puller", cursor=page["cursor"])) == ["e3"]


async def test_deleted_records_are_passed_over_with_a_mark(stage: Stage) -> None:
    for event_id in ("e1", "e2", "e3"):
        offer(stage, event_id)
    begin = cursor_text("puller", LogPosition(HERE, 0))
    stage.pulls.begins[HERE] = 2
    page = await stage.ask("pulls.events", of="puller", cursor=begin)
    assert ids(page) == ["e3"] and page["truncated"]
    beyond = cursor_text("puller", LogPosition(HERE, 99))
    assert (await stage.ask("pulls.events", of="puller", cursor=beyond))["truncated"], "the log is another one"


async def test_a_commit_in_another_partition_is_read_to_its_end_first(stage: Stage) -> None:
    """deliveries.pull has more partitions than at the commit."""
    there = 1 - HERE
    offer(stage, "new")
    for event_id in ("done", "old"):
        record = stage.log.put(TopicName.DELIVERIES_PULL, key=b"puller", value=b"", partition=there)
        copy = Delivery(
            id=event_id,
            endpoint_id="puller",
            event_id=event_id,
            event_type="a.b",
            tenant="acme",
            mode="live",
            created_at="",
            body=b'{"type":"a.b","data":1}',
        )
        changed = record._replace(value=copy.body, headers=delivery_record.encode(copy))
        stage.log.partitions[TopicName.DELIVERIES_PULL, there][record.offset] = changed
    stage.pulls.commits["puller"][there] = PullCommit(offset=1, at_ms=None)
    page = await stage.ask("pulls.events", of="puller")
    assert ids(page) == ["old"] and page["has_more"]
    assert ids(await stage.ask("pulls.events", of="puller", cursor=page["cursor"])) == ["new"]
    await stage.ask("pulls.commit", {"cursor": page["cursor"]}, of="puller")
    assert ids(await stage.ask("pulls.events", of="puller")) == ["new"]


async def test_what_cannot_be_built_any_more_is_an_event_with_an_error(stage: Stage) -> None:
    pull(stage, transform="abs('x')")
    offer(stage, "e1")
    (event,) = (await stage.ask("pulls.events", of="puller"))["data"]
    assert event["id"] == "e1" and event["body"] is None and event["error"]["reason"] == "transform_failed"


async def test_records_of_others_are_left_out(stage: Stage) -> None:
    offer(stage, "foreign", tenant="other")
    stage.log.put(TopicName.DELIVERIES_PULL, key=b"puller", value=b"{}", partition=HERE)
    offer(stage, "e1")
    assert ids(await stage.ask("pulls.events", of="puller")) == ["e1"]


@pytest.mark.parametrize("query", [{"wait": "61"}, {"wait": "-1"}, {"wait": "x"}, {"limit": "101"}, {"format": "xml"}])
async def test_a_bad_query_is_refused(stage: Stage, query: dict[str, str]) -> None:
    assert await stage.refused("pulls.events", of="puller", **query) == (400, "invalid_query")


async def test_bad_cursors_are_refused(stage: Stage) -> None:
    pull(stage, "second")
    for cursor in (
        "",
        "x",
        "ä" * 26,
        "A" * 10_000,
        cursor_text("second", LogPosition(HERE, 0)),
        cursor_text("puller", LogPosition(4_000_000_000, 0)),
    ):
        assert await stage.refused("pulls.events", of="puller", cursor=cursor) == (400, "invalid_cursor"), cursor
    beyond = cursor_text("puller", LogPosition(HERE, 1))
    assert await stage.refused("pulls.commit", {"cursor": beyond}, of="puller") == (400, "invalid_cursor")


async def test_only_active_pull_endpoints_of_the_caller_can_be_pulled(stage: Stage) -> None:
    assert await stage.refused("pulls.events", of="nobody") == (404, "not_found")
    assert await stage.refused("pulls.events", of="ep") == (409, "not_a_pull_endpoint")
    for status in ("paused", "disabled"):
        pull(stage, status, status=status)
        assert await stage.refused("pulls.events", of=status) == (409, status)
    assert await stage.refused("actions.test", of="puller") == (409, "pull_endpoint")


async def test_a_wait_ends_when_the_endpoint_is_deleted(stage: Stage) -> None:
    stage.clock.auto = False
    waiting = asyncio.ensure_future(stage.refused("pulls.events", of="puller", wait="30"))
    for _ in range(20):
        await asyncio.sleep(0)
    stage.feed.directory.remove_endpoint("puller")
    offer(stage, "e1")
    assert await waiting == (404, "not_found")


async def test_waiting_requests_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_waits, "MAX_OF_KEY", 2)
    stage.clock.auto = False
    waiting = [asyncio.ensure_future(stage.ask("pulls.events", of="puller", wait="30")) for _ in range(2)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert await stage.refused("pulls.events", of="puller") == (429, "too_many_pulls")
    stage.services.pull_waits.stop()
    assert [each["data"] for each in await asyncio.gather(*waiting)] == [[], []], "the process stops"
    assert stage.services.pull_waits.open() == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"url": "https://x.example"}, "url: a pull endpoint has none"),
        ({"kind": "push"}, "kind: cannot be changed"),
        ({"auth": {"type": "basic", "username": "u", "password": "p"}}, "auth: a pull endpoint sends no requests"),
        ({"headers": {"x-a": "b"}}, "headers: a pull endpoint sends no requests"),
        ({"schedule": [0, 5]}, "schedule: a pull endpoint sends no requests"),
        ({"rate_limit": 5}, "rate_limit: a pull endpoint sends no requests"),
    ],
)
async def test_settings_of_requests_are_refused(stage: Stage, changes: Any, problem: str) -> None:
    with pytest.raises(CommandRefused) as caught:
        await stage.ask("webhooks.patch", changes, of="puller")
    assert problem in caught.value.detail


async def test_an_endpoint_is_shown_with_its_kind(stage: Stage) -> None:
    shown = await stage.ask("webhooks.get", of="puller")
    assert (shown["kind"], shown["url"], shown["schedule"], shown["timeout"]) == ("pull", "", None, None)
    assert (await stage.ask("webhooks.get", of="ep"))["kind"] == "push"


async def test_a_key_with_the_scope_pull_may_pull_and_nothing_else() -> None:
    async with open_stage() as served, aiohttp.ClientSession() as http:
        served.endpoint(id_="ep_1", kind="pull", url="")
        served.key("sk_live_pull", "acme", "live", "pull")
        served.key("sk_live_other_pull", "other", "live", "pull")
        events = f"{served.url}/v1/webhooks/ep_1/events"

        async def ask(method: str, url: str, key: str, body: Any = None) -> tuple[int, Any]:
            head = {"Authorization": f"Bearer {key}"}
            async with http.request(method, url, headers=head, json=body) as answer:
                return answer.status, await answer.json()

        status, page = await ask("GET", events, "sk_live_pull")
        assert (status, page["data"]) == (200, [])
        cursor = {"cursor": page["cursor"]}
        assert (await ask("POST", f"{events}/commit", "sk_live_pull", cursor))[0] == 200
        assert (await ask("GET", f"{served.url}/v1/webhooks", "sk_live_pull"))[0] == 403
        assert (await ask("GET", f"{served.url}/v1/events", "sk_live_pull"))[0] == 403
        assert (await ask("GET", events, READ_ONLY))[0] == 200
        assert (await ask("POST", f"{events}/commit", READ_ONLY, cursor))[0] == 403
        assert (await ask("GET", events, "sk_live_other_pull"))[0] == 404


async def test_a_stream_has_events_beats_and_an_end() -> None:
    async with open_stage() as served, aiohttp.ClientSession() as http:
        served.endpoint(id_="ep_1", kind="pull", url="")
        served.key("sk_live_pull", "acme", "live", "pull")
        head = {"Authorization": "Bearer sk_live_pull", "Accept": "text/event-stream"}
        async with http.get(f"{served.url}/v1/webhooks/ep_1/events", headers=head) as answer:
            assert answer.content_type == "text/event-stream"

            async def frame() -> bytes:
                async with asyncio.timeout(PATIENCE_S):
                    return await answer.content.readuntil(b"\n\n")

            assert b"event: ready" in await frame()
            served.log.put(TopicName.DELIVERIES_PULL, key=b"ep_1", value=b"", partition=0)
            append_pulled(served.log, "e1", "ep_1", b'{"type":"a.b",\n"data":{\r\n"n":1}}', partition=0)
            message = await frame()
            lines = [line.removeprefix(b"data: ") for line in message.splitlines() if line.startswith(b"data: ")]
            assert json.loads(b"\n".join(lines))["body"]["data"] == {"n": 1}
            await settle()
            await served.clock.advance(pull_streams.BEAT_S + 1)
            assert b": beat" in await frame()
            served.feed.directory.remove_key("key_of_sk_live_pull")
            await settle()
            await served.clock.advance(pull_streams.BEAT_S + 1)
            assert b'"unauthenticated"' in await frame()
        assert served.services.pull_waits.open() == 0
