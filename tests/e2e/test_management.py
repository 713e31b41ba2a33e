"""What the five products let their customers do with a webhook: one test for each row of their documents."""

from __future__ import annotations

import hashlib
import hmac
import json
from secrets import token_hex
from typing import Any

import pytest
from standardwebhooks import Webhook as StandardVerifier
from svix.webhooks import Webhook as SvixVerifier

from app.embedded.receiver.receiver import Received
from tests.e2e.harness import Answer, Inbox, Service, inbox, read


async def tenant(shared: Service, profile: str, **more: Any) -> tuple[str, str]:
    """A fresh tenant of a product, and a live key of it."""
    name = f"{profile}-{token_hex(4)}"
    return name, await shared.key(name, profile=profile, **more)


async def registered(shared: Service, key: str, url: str, events: Any = "*", **more: Any) -> dict[str, Any]:
    answer = await shared.ask("POST", "/v1/webhooks", {"url": url, "events": events, **more}, key=key)
    assert answer.status == 201, answer
    return dict(answer.body)


async def send(shared: Service, key: str, event_type: str, data: Any = None) -> str:
    answer = await shared.ask("POST", "/v1/events", {"type": event_type, "data": data or {"n": 1}}, key=key)
    assert answer.status == 202, answer
    return str(answer.body["id"])


async def marked(shared: Service, key: str, box: Inbox, path: str, event_type: str, expect: int = 0) -> list[Received]:
    """Everything that came to a path beside a last event, which is sent here; `expect`: so many may overtake it."""
    last = await send(shared, key, event_type)
    await box.until(lambda: last in box.ids(path) and len(box.ids(path)) > expect)
    return [each for each in box.received if each.path == path and each.event_id != last]


# --- Bota: Register the webhook, Managing Webhooks, Testing Webhooks, Use HTTPS endpoints only ---


async def test_bota_register_the_webhook(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    async with inbox() as (box, base):
        made = await registered(shared, key, f"{base}/bota/a", ["recording.created", "summary.completed"])
        shown = await shared.ask("GET", f"/v1/webhooks/{made['id']}", key=key)
        assert made["secret"] and "secret" not in shown.body, "the secret is shown once"
        await send(shared, key, "recording.uploaded")
        id_ = await send(shared, key, "recording.created", {"id": "rec_1"})
        await box.until(lambda: bool(box.received))
        (got,) = box.received
        assert (got.event_id, got.event_type) == (id_, "recording.created")
        signature = hmac.new(made["secret"].encode(), got.body, hashlib.sha256).hexdigest()
        assert got.headers["x-bota-signature"] == f"sha256={signature}"


async def test_bota_list_webhooks(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    made = [await registered(shared, key, f"https://bota.example/{number}") for number in range(3)]
    first = await shared.ask("GET", "/v1/webhooks?limit=2", key=key)
    rest = await shared.ask("GET", f"/v1/webhooks?limit=2&cursor={first.body['next_cursor']}", key=key)
    assert [each["id"] for each in first.body["data"] + rest.body["data"]] == [each["id"] for each in made]
    assert rest.body["next_cursor"] is None


async def test_bota_delete_a_webhook(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    async with inbox() as (box, base):
        gone = await registered(shared, key, f"{base}/bota/gone")
        await registered(shared, key, f"{base}/bota/stays")
        assert (await shared.ask("DELETE", f"/v1/webhooks/{gone['id']}", key=key)).status == 204
        await send(shared, key, "recording.created")
        await marked(shared, key, box, "/bota/stays", "recording.created")
        assert not box.ids("/bota/gone")
        assert (await shared.ask("GET", f"/v1/webhooks/{gone['id']}", key=key)).status == 404


async def test_bota_update_events_by_delete_and_recreate(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    async with inbox() as (box, base):
        old = await registered(shared, key, f"{base}/bota/a", ["recording.*"])
        await shared.ask("DELETE", f"/v1/webhooks/{old['id']}", key=key)
        new = await registered(shared, key, f"{base}/bota/a", ["summary.*"])
        assert new["id"] != old["id"]
        await send(shared, key, "recording.created")
        assert not await marked(shared, key, box, "/bota/a", "summary.completed")
        patched = await shared.ask("PATCH", f"/v1/webhooks/{new['id']}", {"events": ["recording.*"]}, key=key)
        assert patched.body["events"] == ["recording.*"], "and it goes without deleting, too"


async def test_bota_device_events_only_by_explicit_opt_in(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    async with inbox() as (box, base):
        await registered(shared, key, f"{base}/bota/all", ["*"])
        await registered(shared, key, f"{base}/bota/opted", ["recording.*", "device.*"])
        id_ = await send(shared, key, "device.offline", {"id": "dev_1"})
        await marked(shared, key, box, "/bota/opted", "recording.created", 1)
        assert not [
            each
            for each in await marked(shared, key, box, "/bota/all", "recording.created")
            if each.event_type == "device.offline"
        ]
        assert id_ in box.ids("/bota/opted")


async def test_bota_test_events_in_test_mode(shared: Service) -> None:
    name, live = await tenant(shared, "bota")
    test = await shared.key(name, "test", profile="bota")
    async with inbox() as (box, base):
        await registered(shared, live, f"{base}/bota/live")
        await registered(shared, test, f"{base}/bota/test")
        await send(shared, test, "recording.created")
        assert len(await marked(shared, test, box, "/bota/test", "recording.created", 1)) == 1
        assert not await marked(shared, live, box, "/bota/live", "recording.created")


async def test_bota_unknown_event_types_name_the_nearest(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    answer = await shared.ask(
        "POST", "/v1/webhooks", {"url": "https://x.example", "events": ["recording.creatd"]}, key=key
    )
    assert (answer.status, answer.body["errors"][0]["pointer"]) == (422, "/events/0")
    assert "recording.created" in answer.body["detail"]


# --- Efficlose: Webhook Setup, Webhook Configuration, Webhook Testing ---


async def test_efficlose_create_webhook_with_optional_secret(shared: Service) -> None:
    _, key = await tenant(shared, "efficlose")
    async with inbox() as (box, base):
        plain = await registered(shared, key, f"{base}/efficlose/plain", ["recording.created"], unsigned=True)
        signed = await registered(shared, key, f"{base}/efficlose/signed", ["recording.created"], secret="my own")
        assert "secret" not in plain and plain["secrets"] == [] and signed["secret"] == "my own"
        await send(shared, key, "recording.created")
        await box.until(lambda: len(box.received) == 2)
        by_path = {each.path: each for each in box.received}
        assert "x-webhook-signature" not in by_path["/efficlose/plain"].headers
        body = by_path["/efficlose/signed"].body
        expected = hmac.new(b"my own", body, hashlib.sha256).hexdigest()
        assert by_path["/efficlose/signed"].headers["x-webhook-signature"] == f"sha256={expected}"


async def test_efficlose_secret_can_be_removed(shared: Service) -> None:
    _, key = await tenant(shared, "efficlose")
    async with inbox() as (box, base):
        made = await registered(shared, key, f"{base}/efficlose/a", ["recording.created"])
        path = f"/v1/webhooks/{made['id']}/rotate-secret"
        removed = await shared.ask("POST", path, {"remove": True}, key=key)
        assert (removed.status, removed.body["secrets"]) == (200, [])
        await send(shared, key, "recording.created")
        await box.until(lambda: bool(box.received))
        assert "x-webhook-signature" not in box.received[0].headers


async def test_efficlose_active_status(shared: Service) -> None:
    _, key = await tenant(shared, "efficlose")
    async with inbox() as (box, base):
        made = await registered(shared, key, f"{base}/efficlose/off", ["recording.created"], active=False)
        assert made["status"] == "disabled"
        await registered(shared, key, f"{base}/efficlose/on", ["recording.created"])
        await send(shared, key, "recording.created")
        await marked(shared, key, box, "/efficlose/on", "recording.created")
        patched = await shared.ask("PATCH", f"/v1/webhooks/{made['id']}", {"active": True}, key=key)
        assert patched.body["status"] == "active"
        assert not await marked(shared, key, box, "/efficlose/off", "recording.created"), "nothing was kept for it"


async def test_efficlose_retry_policy(shared: Service) -> None:
    _, key = await tenant(shared, "efficlose")
    async with inbox("status:500*2,200") as (box, base):
        made = await registered(shared, key, f"{base}/efficlose/a", ["recording.created"], schedule=[0, 0.5, 1])
        assert made["schedule"] == [0, 0.5, 1]
        await send(shared, key, "recording.created")
        await box.until(lambda: len(box.received) == 3)
        assert [each.attempt for each in box.received] == [1, 2, 3]


async def test_efficlose_test_webhook_with_event_type(shared: Service) -> None:
    _, key = await tenant(shared, "efficlose")
    async with inbox() as (box, base):
        made = await registered(shared, key, f"{base}/efficlose/a", ["meeting.*"])
        body = {"type": "recording.created", "data": {"recording": {"id": 999, "title": "Test Recording"}}}
        answer = await shared.ask("POST", f"/v1/webhooks/{made['id']}/test", body, key=key)
        assert (answer.body["ok"], answer.body["status"]) == (True, 200), answer
        (got,) = box.received
        assert json.loads(got.body)["data"] == body["data"]
        assert json.loads(got.body)["event"] == "recording.created"


# --- Recall.ai: one endpoint gets all events of its environment, signing secret ---


async def test_recall_all_events_of_the_environment(shared: Service) -> None:
    name, production = await tenant(shared, "recall")
    staging = await shared.key(name, "test", profile="recall")
    async with inbox() as (box, base):
        made = await registered(shared, production, f"{base}/recall/a")
        kinds = ["bot.joining_call", "bot.in_call_recording", "bot.done"]
        await send(shared, staging, "bot.fatal")
        for kind in kinds:
            await send(shared, production, kind, {"data": {"code": "x", "sub_code": None}, "bot": {"id": "b"}})
        got = await marked(shared, production, box, "/recall/a", "bot.call_ended", len(kinds))
        assert sorted(each.event_type or "" for each in got) == sorted(kinds)
        SvixVerifier(made["secret"]).verify(got[0].body, got[0].headers)


# --- VoxScriber: Step-by-Step Configuration, Security best practices ---


async def test_voxscriber_add_an_endpoint_and_select_events(shared: Service) -> None:
    _, key = await tenant(shared, "voxscriber")
    async with inbox() as (box, base):
        await registered(shared, key, f"{base}/voxscriber/a", ["transcription.completed", "credits.low"])
        await send(shared, key, "transcription.started")
        assert not await marked(shared, key, box, "/voxscriber/a", "credits.low")


async def test_voxscriber_configure_security(shared: Service) -> None:
    _, key = await tenant(shared, "voxscriber")
    async with inbox() as (box, base):
        await registered(shared, key, f"{base}/voxscriber/a", secret="ein Geheimnis")
        await send(shared, key, "upload.completed")
        await box.until(lambda: bool(box.received))
        expected = hmac.new(b"ein Geheimnis", box.received[0].body, hashlib.sha256).hexdigest()
        assert box.received[0].headers["x-webhook-signature"] == expected


async def test_voxscriber_send_test(shared: Service) -> None:
    _, key = await tenant(shared, "voxscriber")
    async with inbox("status:503,200") as (box, base):
        made = await registered(shared, key, f"{base}/voxscriber/a", ["transcription.completed"])
        path = f"/v1/webhooks/{made['id']}/test"
        bad, good = await shared.ask("POST", path, key=key), await shared.ask("POST", path, key=key)
        assert (bad.status, bad.body["ok"], bad.body["status"], bad.body["result"]) == (200, False, 503, "http_5xx")
        assert "503" in bad.body["reason"]
        assert good.body["ok"] and good.body["timing"]["total"] > 0
        assert json.loads(box.received[0].body)["type"] == "transcription.completed"
        assert "X-Webhook-Signature" in good.body["request"]["headers"]


async def test_voxscriber_activate_the_webhook(shared: Service) -> None:
    _, key = await tenant(shared, "voxscriber")
    made = await registered(shared, key, "https://vox.example/hook", active=False)
    answer = await shared.ask("POST", f"/v1/webhooks/{made['id']}/enable", key=key)
    assert answer.body["status"] == "active"


async def test_voxscriber_rotate_the_secret_periodically(shared: Service) -> None:
    """Its header holds one signature: the newest secret signs, and the old one is shown as still accepted."""
    _, key = await tenant(shared, "voxscriber")
    async with inbox() as (box, base):
        made = await registered(shared, key, f"{base}/voxscriber/a")
        rotated = await shared.ask("POST", f"/v1/webhooks/{made['id']}/rotate-secret", {"overlap": 3600}, key=key)
        assert len(rotated.body["secrets"]) == 2
        await send(shared, key, "upload.completed")
        await box.until(lambda: bool(box.received))
        expected = hmac.new(rotated.body["secret"].encode(), box.received[0].body, hashlib.sha256).hexdigest()
        assert box.received[0].headers["x-webhook-signature"] == expected


# --- beyond the documents ---


async def test_standard_rotation_signs_with_both_secrets(shared: Service) -> None:
    _, key = await tenant(shared, "standard")
    async with inbox() as (box, base):
        made = await registered(shared, key, f"{base}/standard/a", ["a.*"])
        rotated = await shared.ask("POST", f"/v1/webhooks/{made['id']}/rotate-secret", key=key)
        await send(shared, key, "a.b")
        await box.until(lambda: bool(box.received))
        for secret in (made["secret"], rotated.body["secret"]):
            StandardVerifier(secret).verify(box.received[0].body, box.received[0].headers)
        at_once = await shared.ask("POST", f"/v1/webhooks/{made['id']}/rotate-secret", {"overlap": 0}, key=key)
        assert len(at_once.body["secrets"]) == 1


async def test_a_scheme_that_cannot_use_the_endpoints_secret_is_refused(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    body = {"url": "https://127.0.0.1:9/", "events": "*", "secret": "any text!"}
    made = await shared.ask("POST", "/v1/webhooks", body, key=key)
    assert made.status == 201, made
    patched = await shared.ask("PATCH", f"/v1/webhooks/{made.body['id']}", {"signature": "standard"}, key=key)
    assert patched.status == 422 and patched.body["errors"][0]["pointer"] == "/signature", patched
    assert (await shared.ask("GET", f"/v1/webhooks/{made.body['id']}", key=key)).body["signature"] is None


async def test_oversized_values_of_any_field_are_refused_with_a_4xx(shared: Service) -> None:
    name, key = await tenant(shared, "bota")
    made = await shared.ask("POST", "/v1/webhooks", {"url": "https://127.0.0.1:9/", "events": "*"}, key=key)
    long, place = "x" * 900_000, f"/v1/webhooks/{made.body['id']}"
    asked: list[tuple[str, str, dict[str, Any], str]] = [
        *(
            ("PATCH", place, {field: value}, key)
            for field, value in {
                "description": long,
                "url": f"https://{long}",
                "events": [long],
                "headers": {"x-a": long},
                "metadata": {"a": long},
                "signature": long,
                "schedule": [1] * 100_000,
            }.items()
        ),
        ("POST", "/v1/webhooks", {"url": "https://127.0.0.1:9/", "events": "*", "secret": long}, key),
        ("PUT", "/v1/event-types/a.b", {"description": long}, key),
        ("PUT", "/v1/event-types/a.b", {"schema": {"description": long}}, key),
        ("POST", f"{place}/test", {"type": long}, key),
        ("POST", "/v1/events", {"type": "a.b", "data": 1, "idempotency_key": long}, key),
        ("POST", "/v1/replays", {"from": "1h", "types": [long]}, key),
        ("POST", "/v1/tenants", {"id": f"{name}-2", "brand": {"logo": long}}, ""),
        ("POST", f"/v1/tenants/{name}/keys", {"mode": "live", "scopes": ["read"] * 90_000}, ""),
    ]
    for method, path, body, who in asked:
        answer = await shared.ask(method, path, body, key=who)
        assert answer.status in (413, 422) and len(str(answer.body)) < 4000, (path, list(body), answer)


async def test_a_tenants_own_type_with_a_schema_is_enforced(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    put = await shared.ask("PUT", "/v1/event-types/order.paid", {"schema": schema, "mode": "reject"}, key=key)
    assert put.status == 200, put
    async with inbox() as (box, base):
        await registered(shared, key, f"{base}/bota/a", ["order.*"])
        await send(shared, key, "order.paid", {"n": "three"})
        good = await send(shared, key, "order.paid", {"n": 3})
        await box.until(lambda: bool(box.received))
        assert box.ids() == [good]
        warn = {"schema": schema, "mode": "warn"}
        assert (await shared.ask("PUT", "/v1/event-types/order.paid", warn, key=key)).body["version"] == 2
        lax = await send(shared, key, "order.paid", {"n": "three"})
        await box.until(lambda: lax in box.ids())
    for bad, pointer in (({"$ref": "http://127.0.0.1:9/"}, "/schema/$ref"), ({"pattern": "(?!x)"}, "/schema/pattern")):
        put = await shared.ask("PUT", "/v1/event-types/a.b", {"schema": bad, "mode": "off"}, key=key)
        assert put.status == 422 and put.body["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://user:pass@x.example/", {}),
        ("https://10.0.0.1/", {}),
        ("https://[::ffff:10.0.0.1]/", {}),
        ("https://x.example:22/", {}),
        ("ftp://x.example/", {}),
        ("https://x.example/", {"Host": "other"}),
        ("https://x.example/", {"X-Bota-Signature": "mine"}),
        ("https://x.example/", {"A": "b\r\nEvil: 1"}),
        ("https://x.example/", {"Transfer-Encoding": "chunked"}),
    ],
)
async def test_a_url_or_header_that_could_do_harm_is_refused(
    shared: Service, url: str, headers: dict[str, str]
) -> None:
    _, key = await tenant(shared, "standard")
    answer: Answer = await shared.ask("POST", "/v1/webhooks", {"url": url, "events": "*", "headers": headers}, key=key)
    assert answer.status == 422, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_a_pause_loses_nothing_and_a_disabled_endpoint_can_recover(shared: Service) -> None:
    _, key = await tenant(shared, "bota")
    async with inbox() as (box, base):
        made = {
            name: await registered(shared, key, f"{base}/bota/{name}", max_in_flight=1)
            for name in ("paused", "disabled", "free")
        }
        paths = {name: f"/v1/webhooks/{each['id']}" for name, each in made.items()}
        assert (await shared.ask("POST", f"{paths['paused']}/pause", key=key)).body["status"] == "paused"
        assert (await shared.ask("POST", f"{paths['disabled']}/disable", key=key)).body["status"] == "disabled"
        missed = [await send(shared, key, "recording.created", {"n": number}) for number in range(5)]
        await box.until(lambda: set(box.ids("/bota/free")) >= set(missed))
        id_ = made["paused"]["id"].encode()  # what is parked after the resume would be no part of it
        topic = f"{shared.prefix}deliveries.dead"
        await read(shared.bootstrap, topic, lambda dead: [each.key for each in dead].count(id_) == 5)
        assert not box.ids("/bota/paused") and not box.ids("/bota/disabled")
        assert (await shared.ask("POST", f"{paths['paused']}/resume", key=key)).body["status"] == "active"
        await box.until(lambda: len(box.ids("/bota/paused")) == 5)
        assert box.ids("/bota/paused") == missed, "oldest first"
        enabled = await shared.ask("POST", f"{paths['disabled']}/enable", key=key)
        assert enabled.body["recoverable"]["records_at_most"] >= 5
        for _ in range(2):  # asked for twice, it is one
            recovery = await shared.ask("POST", f"{paths['disabled']}/recover", key=key)
            assert (recovery.status, recovery.body["reason"]) == (202, "recover")
        await box.until(lambda: set(box.ids("/bota/disabled")) >= set(missed))
        assert sorted(box.ids("/bota/disabled")) == sorted(missed)
        assert (await shared.ask("GET", paths["disabled"], key=key)).body["recoverable"] is None
