"""Sensitive custom headers are sealed in the registry, masked in answers, and sent in plain text to the receiver."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from app.core.model.receiver_auth import MASK
from tests.api.raw_http import JSON, ask, head
from tests.dashboard.stage import KEYS, Stage, open_stage

ACME = KEYS["acme", "live"]
SECRET = "Bearer s3cr3t-of-acme"


async def call(stage: Stage, method: str, path: str, body: Any = None) -> tuple[int, str]:
    raw = json.dumps(body).encode() if body is not None else b""
    kind = {"Content_Type": JSON} if raw else {}
    answer = await ask(stage.url, head(method, path, key=ACME, length=len(raw), **kind) + raw)
    return answer.status, answer.body.decode()


async def created(stage: Stage) -> str:
    headers = {"Authorization": SECRET, "X-Api-Key": "k-17", "X-Team": "blue"}
    body = {"url": "https://acme.example/x", "events": "*", "headers": headers}
    status, text = await call(stage, "POST", "/v1/webhooks", body)
    assert status == 201 and SECRET not in text and "k-17" not in text
    assert json.loads(text)["headers"] == {"Authorization": MASK, "X-Api-Key": MASK, "X-Team": "blue"}
    return str(json.loads(text)["id"])


def sent(stage: Stage, id_: str) -> dict[str, str]:
    endpoint = stage.feed.directory.endpoint(id_)
    assert endpoint is not None
    return dict(stage.services.builder.prepared(endpoint, stage.clock.now_ms()).headers)


async def test_values_are_sealed_in_the_registry_masked_in_answers_and_sent() -> None:
    async with open_stage() as stage:
        id_ = await created(stage)
        stored = msgspec.json.encode(stage.feed.directory.endpoint(id_)).decode()
        assert SECRET not in stored and "k-17" not in stored and "blue" in stored
        for path in (f"/v1/webhooks/{id_}", "/v1/webhooks", "/v1/audit"):
            status, text = await call(stage, "GET", path)
            assert status == 200 and SECRET not in text and "k-17" not in text
        assert sent(stage, id_) == {"Authorization": SECRET, "X-Api-Key": "k-17", "X-Team": "blue"}


async def test_a_change_keeps_masked_values_replaces_others_and_removes_the_rest() -> None:
    async with open_stage() as stage:
        id_ = await created(stage)
        path = f"/v1/webhooks/{id_}"
        status, _ = await call(stage, "PATCH", path, {"headers": {"authorization": MASK, "X-Team": "red"}})
        assert status == 200
        assert sent(stage, id_) == {"authorization": SECRET, "X-Team": "red"}
        status, text = await call(stage, "PATCH", path, {"headers": {"authorization": "Bearer other"}})
        assert status == 200 and "other" not in text
        assert sent(stage, id_) == {"authorization": "Bearer other"}
        status, _ = await call(stage, "PATCH", path, {"description": "later"})
        assert status == 200 and sent(stage, id_) == {"authorization": "Bearer other"}


async def test_a_test_call_sends_the_value_and_shows_the_mask() -> None:
    async with open_stage() as stage:
        id_ = await created(stage)
        status, text = await call(stage, "POST", f"/v1/webhooks/{id_}/test", {"type": "a.b", "data": {}})
        assert status == 200 and SECRET not in text and "k-17" not in text
        assert json.loads(text)["request"]["headers"]["Authorization"] == MASK
        assert dict(stage.sender.requests[-1].headers)["Authorization"] == SECRET


async def test_a_mask_without_a_value_and_a_value_that_cannot_be_sent_are_refused() -> None:
    async with open_stage() as stage:
        path = f"/v1/webhooks/{await created(stage)}"
        for headers in ({"X-New-Token": MASK}, {"X-Api-Key": "a\r\nb"}, {"X-Api-Key": "x" * 4097}):
            status, text = await call(stage, "PATCH", path, {"headers": headers})
            assert status == 422 and "headers" in text and "xxxx" not in text


async def test_the_total_size_holds_for_kept_values_too() -> None:
    async with open_stage() as stage:
        path = f"/v1/webhooks/{await created(stage)}"
        kept: dict[str, str] = {}
        for number in range(5):
            status, _ = await call(stage, "PATCH", path, {"headers": kept | {f"X-{number}-Key": "v" * 4000}})
            assert status == (200 if number < 4 else 422)
            kept[f"X-{number}-Key"] = MASK


async def test_plain_values_of_old_records_are_sent_masked_and_sealed_at_the_next_change() -> None:
    async with open_stage() as stage:
        id_ = await created(stage)
        current = stage.feed.directory.endpoint(id_)
        assert current is not None
        old = msgspec.structs.replace(current, headers={"X-Api-Key": "old-17"}, sealed_headers={})
        stage.feed.directory.put_endpoint(old)
        _, text = await call(stage, "GET", f"/v1/webhooks/{id_}")
        assert "old-17" not in text and sent(stage, id_) == {"X-Api-Key": "old-17"}
        status, _ = await call(stage, "PATCH", f"/v1/webhooks/{id_}", {"description": "later"})
        fresh = stage.feed.directory.endpoint(id_)
        assert status == 200 and fresh is not None and fresh.headers == {"X-Api-Key": MASK}
        assert sent(stage, id_) == {"X-Api-Key": "old-17"}


async def test_headers_that_the_customer_marks_are_sealed_too() -> None:
    async with open_stage() as stage:
        body = {"url": "https://acme.example/x", "events": "*", "headers": {"X-Pass": "p-17", "X-Team": "blue"}}
        status, text = await call(stage, "POST", "/v1/webhooks", body | {"sensitive_headers": ["x-pass"]})
        assert status == 201 and "p-17" not in text
        id_ = str(json.loads(text)["id"])
        assert "p-17" not in msgspec.json.encode(stage.feed.directory.endpoint(id_)).decode()
        assert sent(stage, id_) == {"X-Pass": "p-17", "X-Team": "blue"}
        path = f"/v1/webhooks/{id_}"
        status, text = await call(stage, "PATCH", path, {"sensitive_headers": ["X-Team"]})
        assert status == 200 and "p-17" not in text and "blue" not in text, "what is sealed is never shown"
        assert sent(stage, id_) == {"X-Pass": "p-17", "X-Team": "blue"}
        status, text = await call(stage, "PATCH", path, {"sensitive_headers": [], "headers": {"X-Pass": "new"}})
        assert status == 200 and json.loads(text)["headers"] == {"X-Pass": "new"}
        status, text = await call(stage, "POST", f"{path}/test", {"type": "a.b", "data": {}})
        assert status == 200
        status, _ = await call(stage, "PATCH", path, {"sensitive_headers": ["no header\r\n"]})
        assert status == 422
