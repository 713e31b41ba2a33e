"""Strangers and key holders who send too much, too slowly or nonsense, on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections import Counter

import pytest
from structlog.testing import capture_logs

from app.api import reading
from app.api.problems import ApiError
from app.api.reading import BodyMemory
from app.api.server.complaints import Complaints
from app.api.server.routes import MAX_BODY, MAX_IMPORT, ROUTES
from app.dashboard.live import MAX_OF_KEY, MAX_OF_SESSION
from tests.api.raw_http import FORM, JSON, RawConnection, ask, head
from tests.dashboard.stage import KEYS, OPERATOR, Browser, Stage, browser
from tests.fakes.clock import FakeClock
from tests.patience import PATIENCE_S

ACME, OTHER = KEYS["acme", "live"], KEYS["other", "live"]
BOMB = gzip.compress(b"%41" * (8 * 1024 * 1024 // 3), 9)


@pytest.mark.parametrize(
    "path", ["/ui/sign-in", "/portal/x/endpoints/ep_1/rotate", "/unsubscribe?token=x", "/v1/webhooks"]
)
async def test_an_unauthenticated_compression_bomb_is_not_decompressed(stage: Stage, path: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(60):
            connection = await RawConnection.to(stage.url)
            chunked = head("POST", path, Content_Type=FORM, Content_Encoding="gzip", Transfer_Encoding="chunked")
            await connection.send(chunked + b"%x\r\n%b\r\n" % (len(BOMB), BOMB))  # and never the end of it
            answer = await connection.answer()
            assert answer.status in (400, 401, 415), answer
            assert (answer.status == 415) == (path == "/ui/sign-in")
            connection.close()


async def test_an_unauthenticated_form_is_refused_before_it_is_read(stage: Stage) -> None:
    for body in (b"%41" * 2_800_000, b"token=" + b"a" * 9000):
        request = head("POST", "/ui/sign-in", Content_Type=FORM, length=len(body))
        assert (await ask(stage.url, request)).status == 413, "only its head was sent"
        chunked = head("POST", "/ui/sign-in", Content_Type=FORM, Transfer_Encoding="chunked")
        assert (await ask(stage.url, chunked + b"%x\r\n%b" % (len(body), body))).status == 413


@pytest.mark.parametrize(
    ("path", "body"),
    [("/ui/sign-in", b"a&" * 1100), ("/ui/sign-in?" + "a&" * 1100, b""), ("/v1/webhooks?" + "a&" * 1100, b"")],
)
async def test_many_fields_are_refused_and_leave_no_line_in_the_log(stage: Stage, path: str, body: bytes) -> None:
    with capture_logs() as lines:
        request = head("POST", path, Content_Type=FORM, length=len(body)) + body
        assert (await ask(stage.url, request)).status in (400, 401, 403, 413)
    assert not [line for line in lines if line["log_level"] not in ("debug",)]


async def test_a_charset_that_does_not_exist_does_no_harm(stage: Stage) -> None:
    request = head("POST", "/ui/sign-in", Content_Type=f"{FORM}; charset=nothing", length=3) + b"a=b"
    assert (await ask(stage.url, request)).status == 403


async def test_a_key_may_compress_within_the_bound_of_the_route(stage: Stage) -> None:
    def request(body: bytes, path: str = "/v1/webhooks/ep_1", method: str = "PATCH") -> bytes:
        fields = {"Content_Type": JSON, "Content_Encoding": "gzip"}
        return head(method, path, key=ACME, length=len(body), **fields) + body

    small = gzip.compress(json.dumps({"description": "compressed"}).encode())
    assert (await ask(stage.url, request(small))).status == 200
    changed = stage.feed.directory.endpoint("ep_1")
    assert changed is not None and changed.description == "compressed"
    for wrong, status in (
        (BOMB, 413),
        (gzip.compress(b" " * MAX_BODY * 4), 413),
        (small + b"x", 400),
        (small[:-9], 400),
        (b"no", 400),
        (small + small, 400),
        (gzip.compress(BOMB), 400),
    ):
        assert (await ask(stage.url, request(wrong))).status == status, (len(wrong), wrong[:20])
    events = gzip.compress(b" " * (MAX_BODY + 1))
    assert (await ask(stage.url, request(events, "/v1/events", "POST"))).status == 413
    for name in ("br", "deflate", "zstd", "gzip, gzip", "nothing"):
        asked = head("PATCH", "/v1/webhooks/ep_1", key=ACME, length=2, Content_Type=JSON, Content_Encoding=name)
        assert (await ask(stage.url, asked + b"{}")).status == 415, name


async def test_callers_are_authenticated_before_a_body_is_read(stage: Stage) -> None:
    for path in ("/v1/events", "/v1/webhooks", "/v1/tenants"):
        request = head("POST", path, Content_Type=JSON, length=1_000_000)
        assert (await ask(stage.url, request)).status == 401
        assert (await ask(stage.url, head("POST", path, key="sk_wrong", length=1_000_000))).status == 401
    assert (await ask(stage.url, head("POST", "/v1/tenants", key=ACME, length=1_000_000))).status == 403


async def test_a_body_has_the_bound_of_its_route(stage: Stage) -> None:
    for route in ROUTES:
        if route.takes is None:
            continue
        path = re.sub(r"\{\w+\}", "x", route.path)
        key = OPERATOR if route.access == "operator" else ACME
        asked = head(route.method, path, key=key, Content_Type=JSON, length=route.most + 1)
        assert (await ask(stage.url, asked)).status == 413, route.name
        large = dict.fromkeys(["events.create", "actions.test", "filters.test", "previews.show"], MAX_BODY) | {
            "event_types.import_openapi": MAX_IMPORT
        }
        assert route.most <= large.get(route.name, 256 * 1024), route.name


async def test_a_body_that_does_not_arrive_times_out(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_NEXT_S", 0.2)
    for request in (
        head("POST", "/v1/events", key=ACME, Content_Type=JSON, length=100) + b'{"type"',
        head("POST", "/v1/events", key=ACME, Content_Type=JSON, Transfer_Encoding="chunked") + b"5\r\n{}",
        head("POST", "/ui/sign-in", Content_Type=FORM, length=100) + b"token=",
    ):
        connection = await RawConnection.to(stage.url)
        await connection.send(request)
        assert (await connection.answer()).status == 408
        assert await connection.is_closed()
        connection.close()


async def test_unfinished_bodies_of_one_tenant_leave_room_for_another(stage: Stage) -> None:
    begun = [await RawConnection.to(stage.url) for _ in range(20)]
    for each in begun:
        await each.send(head("POST", "/v1/events", key=ACME, Content_Type=JSON, length=MAX_BODY) + b"[")
    event = json.dumps({"type": "a.b", "data": {}}).encode()
    answer = await ask(stage.url, head("POST", "/v1/events", key=OTHER, Content_Type=JSON, length=len(event)) + event)
    assert answer.status == 202
    for each in begun:
        each.close()


async def opened_stream(stage: Stage, path: str, cookie: str = "") -> RawConnection:
    connection = await RawConnection.to(stage.url)
    await connection.send(head("GET", path, Cookie=f"hookstream_session={cookie}"))
    async with asyncio.timeout(PATIENCE_S):
        assert b" 200 " in await connection.reader.readuntil(b"\r\n\r\n")
        await connection.reader.readuntil(b"retry: 2000")
    return connection


def session_of(somebody: Browser) -> str:
    return next(each.value for each in somebody.http.cookie_jar if each.key == "hookstream_session")


async def portal_link(stage: Stage, key: str = ACME) -> str:
    answer = await ask(stage.url, head("POST", "/v1/portal-links", key=key, length=0))
    assert answer.status == 201, answer
    return str(json.loads(answer.body)["url"]).removeprefix("http://localhost")


async def test_live_pages_of_a_revoked_key_end_within_two_seconds(stage: Stage) -> None:
    path = "/ui/t/acme/live/overview/live"
    async with browser(stage, ACME) as leaves, browser(stage, ACME) as stays, browser(stage, OPERATOR) as operator:
        signed_out = await opened_stream(stage, path, session_of(leaves))
        revoked = [
            await opened_stream(stage, path, session_of(stays)),
            await opened_stream(stage, f"{await portal_link(stage)}/overview/live"),
        ]
        other = await opened_stream(stage, path, session_of(operator))
        assert (await leaves.post("/ui/sign-out"))[0] == 303
        await stage.clock.advance(2)
        async with asyncio.timeout(PATIENCE_S):
            await signed_out.reader.readuntil(b"0\r\n\r\n")
        stage.feed.directory.remove_key(f"key_of_{ACME}")
        await stage.clock.advance(2)
        for each in revoked:
            async with asyncio.timeout(PATIENCE_S):
                await each.reader.readuntil(b"0\r\n\r\n")
        await stage.clock.advance(2)
        stage.endpoint(id_="ep_new")
        await stage.clock.advance(20)
        async with asyncio.timeout(PATIENCE_S):
            await other.reader.readuntil(b": beat")
        for each in (signed_out, *revoked, other):
            each.close()


async def test_links_take_no_more_streams_and_requests_than_their_key(stage: Stage) -> None:
    links = [await portal_link(stage) for _ in range(MAX_OF_KEY // MAX_OF_SESSION + 2)]
    opened = [await opened_stream(stage, f"{links[each // 20]}/overview/live") for each in range(MAX_OF_KEY)]
    assert (await ask(stage.url, head("GET", f"{links[-1]}/overview/live"))).status == 429
    opened.append(await opened_stream(stage, f"{await portal_link(stage, OTHER)}/overview/live"))
    for each in opened:
        each.close()
    await stage.clock.advance(2)
    answers = Counter[int]()
    for number in range(1100):  # the key's limit is 1,000 in a second, and the clock stands still
        answers[(await ask(stage.url, head("GET", f"{links[number % len(links)]}/audit"))).status] += 1
    assert answers[429] == 100, answers
    assert (await ask(stage.url, head("GET", "/v1/webhooks", key=ACME))).status == 429, "it is the key's allowance"
    assert (await ask(stage.url, head("GET", "/v1/webhooks", key=OTHER))).status == 200


async def test_memory_for_bodies_is_shared_by_tenants_and_given_in_line() -> None:
    memory, order = BodyMemory(total=100, share=60), list[str]()
    go = asyncio.Event()

    async def hold(account: str, size: int, name: str) -> None:
        async with memory.reserved(account, size):
            order.append(name)
            await go.wait()

    claims = (("a", 60, "a1"), ("a", 30, "a2"), ("a", 1, "a3"), ("b", 40, "b1"))
    tasks = [asyncio.create_task(hold(*each)) for each in claims]
    await asyncio.sleep(0.05)
    assert order == ["a1", "b1"], "a3 stays behind a2"
    go.set()
    await asyncio.gather(*tasks)
    assert order == ["a1", "b1", "a2", "a3"]
    async with memory.reserved("c", 60), memory.reserved("d", 40):
        pass


async def test_waiting_too_long_for_memory_is_a_503_with_retry_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_RESERVE_S", 0.05)
    memory = BodyMemory(total=100, share=60)
    async with memory.reserved("a", 60):
        with pytest.raises(ApiError) as refused:
            async with memory.reserved("a", 1):
                pass
        assert refused.value.status == 503
        waiting = asyncio.create_task(memory.reserved("a", 1).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with memory.reserved("a", 60):
        pass


async def test_repeated_defects_do_not_fill_the_log() -> None:
    clock = FakeClock()
    complaints = Complaints(clock)

    def fail(times: int) -> None:
        for _ in range(times):
            try:
                raise RuntimeError("defect")
            except RuntimeError as error:
                complaints.failed("api.failed", error)

    with capture_logs() as lines:
        fail(1000)
        assert len(lines) == 3
        await clock.advance(61)
        fail(1)
        assert len(lines) == 4 and lines[-1]["left_out"] == 997
        try:
            raise ValueError("another")
        except ValueError as error:
            complaints.failed("api.failed", error)
        assert len(lines) == 5
