"""A repeated create of an endpoint shows its secret to the caller who made it, and only for a while."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.raw_http import JSON, ask, head
from tests.dashboard.stage import KEYS, Stage, open_stage

ACME, OTHER = KEYS["acme", "live"], KEYS["other", "live"]


async def webhook(stage: Stage, path: str, key: str, repeat: str, body: Any = None) -> tuple[int, Any]:
    raw = json.dumps(body).encode() if body is not None else b""
    fields = {"Idempotency_Key": repeat, "Content_Type": JSON}
    answer = await ask(stage.url, head("POST", path, key=key, length=len(raw), **fields) + raw)
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("restarted", [False, True], ids=["the same process", "another process"])
async def test_a_repeated_create_shows_the_secret_only_to_its_caller_and_not_after_a_rotation(restarted: bool) -> None:
    """The first answer may have been lost, in a crash: then the secret is still needed."""
    async with open_stage() as stage:
        stage.key("sk_live_acme_2", "acme", "live")

        def forget() -> None:
            if restarted:
                stage.server.forget_answers()

        made = {"url": "https://acme.example/x", "events": "*"}
        status, first = await webhook(stage, "/v1/webhooks", ACME, "c1", made)
        assert status == 201 and first["secret"].startswith("whsec_")
        forget()
        assert await webhook(stage, "/v1/webhooks", ACME, "c1", made) == (201, first)
        _, other = await webhook(stage, "/v1/webhooks", "sk_live_acme_2", "c1", made)
        assert other["id"] == first["id"] and "secret" not in other and "rotate-secret" in other["secret_hint"]
        path = f"/v1/webhooks/{first['id']}/rotate-secret"
        _, rotated = await webhook(stage, path, ACME, "r1")
        forget()
        assert await webhook(stage, path, ACME, "r1") == (200, rotated), "one rotation"
        _, again = await webhook(stage, "/v1/webhooks", ACME, "c1", made)
        assert again["id"] == first["id"] and not {first["secret"], rotated["secret"]} & set(map(str, again.values()))
        assert "secret" not in again and "rotate-secret" in again["secret_hint"]
        _, foreign = await webhook(stage, path, "sk_live_acme_2", "r1")
        assert foreign["secret"] != rotated["secret"], "another caller's key is another request"
        _, late = await webhook(stage, path, ACME, "r1")
        assert "secret" not in late or late["secret"] not in (rotated["secret"], foreign["secret"])


async def test_a_repeated_create_shows_no_secret_after_a_day() -> None:
    async with open_stage() as stage:
        made = {"url": "https://acme.example/x", "events": "*"}
        _, first = await webhook(stage, "/v1/webhooks", ACME, "c1", made)
        await stage.clock.advance(25 * 3600)
        _, late = await webhook(stage, "/v1/webhooks", ACME, "c1", made)
        assert late["id"] == first["id"] and "secret" not in late and "rotate-secret" in late["secret_hint"]
