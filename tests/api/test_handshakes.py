"""Unverified endpoints over the API: handshakes, their bounds, and the callback."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from app.api.handlers.handshakes import MAX_HANDSHAKES, read_challenge, read_options
from app.core.model.http_exchange import HttpOutcome, HttpReply, HttpRequest, HttpTiming
from app.core.topics.names import TopicName
from tests.api.raw_http import JSON, ask, head
from tests.dashboard.stage import KEYS, Stage, browser, open_stage
from tests.fakes.sender import ScriptedSender, refusal, reply

ACME = KEYS["acme", "live"]
URL = "https://acme.example/x"
ORIGIN = "hooks.test"


class Echo(ScriptedSender):
    """A receiver that returns the challenge, as the header names it."""

    async def send(self, request: HttpRequest) -> HttpOutcome:
        await super().send(request)
        return answer(dict(request.headers).get("webhook-challenge", "").encode())


def answer(body: bytes, status: int = 200, **headers: str) -> HttpReply:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return HttpReply(status=status, headers=named, body=body, truncated=False, timing=HttpTiming())


async def call(stage: Stage, method: str, path: str, body: Any = None, key: str = ACME) -> tuple[int, dict[str, Any]]:
    raw = json.dumps(body).encode() if body is not None else b""
    kind = {"Content_Type": JSON} if raw else {}
    got = await ask(stage.url, head(method, path, key=key, length=len(raw), **kind) + raw)
    try:
        return got.status, json.loads(got.body)
    except ValueError:
        return got.status, {"text": got.body.decode()}


async def create(stage: Stage, verification: str, **more: Any) -> dict[str, Any]:
    status, made = await call(
        stage, "POST", "/v1/webhooks", {"url": URL, "events": "*", "verification": verification, **more}
    )
    assert status == 201
    return made


def with_sender(stage: Stage, sender: ScriptedSender) -> None:
    msgspec.structs.force_setattr(stage.services, "sender", sender)


async def test_a_receiver_that_returns_the_challenge_is_active_at_once() -> None:
    async with open_stage() as stage:
        sender = Echo()
        with_sender(stage, sender)
        made = await create(stage, "challenge")
        assert (made["status"], made["unverified"]) == ("active", None)
        (request,) = sender.requests
        body = json.loads(request.body)
        assert (request.method, body["type"]) == ("POST", "webhook.verification")
        assert body["data"]["challenge"] == dict(request.headers)["webhook-challenge"]
        assert "webhook-signature" in dict(request.headers)


async def test_nothing_but_handshakes_is_sent_until_the_receiver_agrees() -> None:
    async with open_stage() as stage:
        made = await create(stage, "challenge")
        path = f"/v1/webhooks/{made['id']}"
        assert (made["status"], made["unverified"]["last_result"]) == ("unverified", "wrong_challenge")
        for action in ("test", "resume"):
            status, problem = await call(stage, "POST", f"{path}/{action}")
            assert (status, problem["type"]) == (409, "urn:hookstream:problem:unverified")
        status, outcome = await call(stage, "POST", f"{path}/verify")
        assert (status, outcome["agreed"], outcome["webhook"]["status"]) == (200, False, "unverified")
        assert [dict(each.headers).get("webhook-challenge") is None for each in stage.sender.requests] == [False] * 2
        status, page = await call(stage, "GET", "/v1/webhooks?status=unverified")
        assert [each["id"] for each in page["data"]] == [made["id"]]
        with_sender(stage, Echo())
        status, outcome = await call(stage, "POST", f"{path}/verify")
        assert (status, outcome["agreed"], outcome["webhook"]["status"]) == (200, True, "active")
        assert (await call(stage, "POST", f"{path}/verify"))[0] == 409
        assert (await call(stage, "POST", f"{path}/test", {"type": "a.b"}))[0] == 200


async def test_handshakes_are_recorded_as_attempts_without_the_answer() -> None:
    async with open_stage() as stage:
        stage.sender.script(URL, answer(b"key=leaked", Key="leaked"))
        made = await create(stage, "cloudevents")
        assert made["unverified"]["last_result"] == "waiting"
        topic = stage.services.topics.name(TopicName.ATTEMPTS)
        (record,) = [json.loads(each.value or b"") for each in stage.log.of(topic)]
        assert (record["event_type"], record["trigger"], record["result"]) == (
            "webhook.verification",
            "test",
            "not_agreed",
        )
        assert "leaked" not in json.dumps(record)


async def test_a_change_of_the_url_asks_the_new_receiver() -> None:
    async with open_stage() as stage:
        with_sender(stage, Echo())
        made = await create(stage, "challenge")
        silent = ScriptedSender()
        silent.script("https://acme.example/y", refusal("timeout"))
        with_sender(stage, silent)
        status, moved = await call(stage, "PATCH", f"/v1/webhooks/{made['id']}", {"url": "https://acme.example/y"})
        assert (status, moved["status"], moved["unverified"]["last_result"]) == (200, "unverified", "timeout")
        status, free = await call(stage, "PATCH", f"/v1/webhooks/{made['id']}", {"verification": "none"})
        assert (status, free["status"], free["unverified"]) == (200, "active", None)


async def test_handshakes_of_an_hour_are_bounded() -> None:
    async with open_stage() as stage:
        made = await create(stage, "challenge")
        path = f"/v1/webhooks/{made['id']}/verify"
        for _ in range(MAX_HANDSHAKES - 1):
            assert (await call(stage, "POST", path))[0] == 200
        assert (await call(stage, "POST", path))[0] == 429
        assert len(stage.sender.requests) == MAX_HANDSHAKES
        status, _ = await call(stage, "PATCH", f"/v1/webhooks/{made['id']}", {"url": "https://acme.example/y"})
        assert status == 200 and len(stage.sender.requests) == MAX_HANDSHAKES
        await stage.clock.advance(3601)
        assert (await call(stage, "POST", path))[0] == 200


async def test_the_validation_request_of_cloudevents_and_its_answer() -> None:
    async with open_stage(public_url="https://hooks.test") as stage:
        stage.sender.script(URL, reply(200, WebHook_Allowed_Origin=ORIGIN, WebHook_Allowed_Rate="120"))
        made = await create(stage, "cloudevents", rate_limit=10)
        assert (made["status"], made["rate_limit"]) == ("active", 2)
        (request,) = stage.sender.requests
        headers = dict(request.headers)
        assert (request.method, request.body) == ("OPTIONS", b"")
        assert (headers["webhook-request-origin"], headers["webhook-request-rate"]) == (ORIGIN, "600")
        assert headers["webhook-request-callback"].startswith("https://hooks.test/agreement?endpoint=ep_")
        endpoint = stage.feed.directory.endpoint(made["id"])
        assert endpoint is not None
        prepared = stage.services.builder.prepared(endpoint, 0)
        assert ("webhook-request-origin", ORIGIN) in prepared.headers


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_receiver_agrees_later_by_callback(method: str) -> None:
    async with open_stage(public_url="https://hooks.test") as stage:
        made = await create(stage, "cloudevents")
        assert made["status"] == "unverified"
        callback = urlsplit(dict(stage.sender.requests[0].headers)["webhook-request-callback"])
        place = f"{callback.path}?{callback.query}"
        key = parse_qs(callback.query)["key"][0]
        for wrong in (place.replace(key, key[:-1]), place.replace(key, ""), place.replace("endpoint=ep_", "endpoint=")):
            assert (await call(stage, method, wrong))[0] == 404
        got = await ask(stage.url, head(method, place, WebHook_Allowed_Rate="0"))
        assert got.status == 400
        for _ in range(2):  # a repetition changes nothing
            assert (await ask(stage.url, head(method, place, WebHook_Allowed_Rate="60"))).status == 200
        status, shown = await call(stage, "GET", f"/v1/webhooks/{made['id']}")
        assert (status, shown["status"], shown["rate_limit"]) == (200, "active", 1)
        with_sender(stage, ScriptedSender())
        await call(stage, "PATCH", f"/v1/webhooks/{made['id']}", {"url": "https://victim.example/"})
        assert (await call(stage, method, place))[0] == 404  # the key was that of another URL
        status, shown = await call(stage, "GET", f"/v1/webhooks/{made['id']}")
        assert shown["status"] == "unverified"


async def test_a_key_of_another_endpoint_does_not_help() -> None:
    async with open_stage(public_url="https://hooks.test") as stage:
        first, second = await create(stage, "cloudevents"), await create(stage, "cloudevents")
        callback = urlsplit(dict(stage.sender.requests[0].headers)["webhook-request-callback"])
        place = f"{callback.path}?{callback.query.replace(first['id'], second['id'])}"
        assert (await call(stage, "POST", place))[0] == 404


async def test_an_inactive_endpoint_is_not_asked() -> None:
    async with open_stage() as stage:
        made = await create(stage, "challenge", active=False)
        assert (made["status"], stage.sender.requests) == ("disabled", [])
        assert (await call(stage, "POST", f"/v1/webhooks/{made['id']}/enable"))[0] == 409
        with_sender(stage, Echo())
        _, outcome = await call(stage, "POST", f"/v1/webhooks/{made['id']}/verify")
        assert (outcome["agreed"], outcome["webhook"]["status"]) == (True, "disabled")
        assert (await call(stage, "POST", f"/v1/webhooks/{made['id']}/enable"))[1]["status"] == "active"


async def test_the_dashboard_shows_it_and_asks_again() -> None:
    async with open_stage() as stage, browser(stage, ACME) as somebody:
        made = await create(stage, "challenge")
        page = f"/ui/t/acme/live/endpoints/{made['id']}"
        status, text, _ = await somebody.get(page)
        assert status == 200 and "unverified" in text and "brought no agreement" in text and "/ask" in text
        assert "unverified" in (await somebody.get("/ui/t/acme/live/overview"))[1]
        status, _, headers = await somebody.post(f"{page}/ask")
        assert (status, headers["Location"]) == (303, page)
        with_sender(stage, Echo())
        status, _, headers = await somebody.post(f"{page}/ask")
        assert (status, headers["Location"]) == (303, f"{page}?done=verified")


@pytest.mark.parametrize(
    ("headers", "result"),
    [
        ({}, "waiting"),
        ({"WebHook_Allowed_Rate": "5"}, "waiting"),
        ({"WebHook_Allowed_Origin": "evil.test"}, "declined"),
        ({"WebHook_Allowed_Origin": "*.test"}, "declined"),
        ({"WebHook_Allowed_Origin": f"{ORIGIN}.evil.test"}, "declined"),
        ({"WebHook_Allowed_Origin": f"other.test, {ORIGIN}"}, "agreed"),
        ({"WebHook_Allowed_Origin": "*"}, "agreed"),
        ({"WebHook_Allowed_Origin": "HOOKS.test", "WebHook_Allowed_Rate": "*"}, "agreed"),
        ({"WebHook_Allowed_Origin": "*", "WebHook_Allowed_Rate": "0"}, "bad_rate"),
        ({"WebHook_Allowed_Origin": "*", "WebHook_Allowed_Rate": "-1"}, "bad_rate"),
        ({"WebHook_Allowed_Origin": "*", "WebHook_Allowed_Rate": "1e9"}, "bad_rate"),
        ({"WebHook_Allowed_Origin": "*", "WebHook_Allowed_Rate": "9" * 4_000}, "bad_rate"),
    ],
)
def test_answers_to_a_validation_request(headers: dict[str, str], result: str) -> None:
    for status in (200, 404):  # the specification: consent is not in the status
        assert read_options(answer(b"", status, **headers), ORIGIN).result == result


@pytest.mark.parametrize(
    ("status", "body", "agreed"),
    [
        (200, b"chl_1", True),
        (201, b" chl_1\n", True),
        (200, b'{"challenge": "chl_1", "more": [1]}', True),
        (200, b'"chl_1"', False),
        (200, b"chl_10", False),
        (200, b'{"challenge": 1}', False),
        (200, b'{"challenge": "\\ud800"}', False),
        (200, b"[" * 60_000, False),
        (200, b'{"a":' * 10_000 + b"}" * 10_000, False),
        (200, b"\xff\xfe", False),
        (200, b"", False),
        (302, b"chl_1", False),
        (500, b"chl_1", False),
    ],
)
def test_answers_to_a_challenge(status: int, body: bytes, agreed: bool) -> None:
    assert read_challenge(answer(body, status), "chl_1").agreed is agreed
