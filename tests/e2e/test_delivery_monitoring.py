"""What customers see of their deliveries on a real Kafka; the tests bear the names of the products' own promises.

Efficlose, "Webhook Delivery Status": monitor webhook delivery status, view delivery logs, check success/failure rates,
review error messages, retry failed deliveries. VoxScriber: a monitoring panel with deliveries, failures and payloads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from tests.e2e.harness import ADMIN_TOKEN, Inbox, Service, inbox, pause, producer
from tests.patience import LOOKS

Json = dict[str, Any]
#: until a retry that a test has to overtake: longer than the read model takes to show the delivery
WAIT_S = 20


class Customer:
    """One tenant with a key."""

    def __init__(self, service: Service, key: str) -> None:
        self._service = service
        self.key = key

    async def get(self, path: str) -> Any:
        """What a GET answers."""
        answer = await self._service.ask("GET", path, key=self.key)
        assert answer.status == 200, answer
        return answer.body

    async def post(self, path: str, body: Any = None, status: int = 202) -> Any:
        """What a POST answers."""
        answer = await self._service.ask("POST", path, body, key=self.key)
        assert answer.status == status, answer
        return answer.body

    async def endpoint(self, url: str, **fields: Any) -> str:
        """A fresh endpoint's id."""
        return str((await self.post("/v1/webhooks", {"url": url, "events": ["*"], **fields}, 201))["id"])

    async def event(self, number: int = 1, **fields: Any) -> str:
        """A fresh event's id."""
        event = {"type": "recording.created", "data": {"n": number}, **fields}
        return str((await self.post("/v1/events", event))["id"])

    async def until(self, path: str, condition: Callable[[Any], bool]) -> Any:
        """The answer of a GET, once it satisfies a condition; the read model follows what happens."""
        for _ in range(LOOKS):
            answer = await self._service.ask("GET", path, key=self.key)
            if answer.status == 200 and condition(answer.body):
                return answer.body
            await pause(0.05)
        raise AssertionError(answer.body)

    async def delivery(self, event: str, state: str, attempts: int | None = None) -> Json:
        """The one delivery of an event, once it is in that state."""

        def is_so(page: Json) -> bool:
            return any(each["state"] == state and attempts in (None, each["attempt_count"]) for each in page["data"])

        page = await self.until(f"/v1/deliveries?event={event}", is_so)
        (found,) = page["data"]
        return dict(found)


@pytest.fixture
async def acme(shared: Service) -> Customer:
    return Customer(shared, await shared.key(f"acme-{token_hex(4)}", profile="standard"))


def bodies(box: Inbox) -> list[Any]:
    return [json.loads(each.body) for each in box.received]


async def passed_over(service: Service, more_than: int = -1) -> int:
    """How many waiting copies were passed over, once that are more."""
    for _ in range(LOOKS):
        # a copy of a line is superseded by what comes after it, another one passed over by a newer revision
        counted = re.findall(
            r"^hookstream_(?:deliveries_superseded|ordered_copies_skipped)_total (\S+)",
            await service.metrics(),
            re.MULTILINE,
        )
        number = sum(int(float(each)) for each in counted)
        if number > more_than:
            return number
        await pause(0.05)
    raise AssertionError("no waiting copy was passed over")


async def test_monitor_webhook_delivery_status(acme: Customer) -> None:
    async with inbox("status:503*1,200") as (_, base):
        endpoint = await acme.endpoint(f"{base}/standard", schedule=[0, 3600])
        first = await acme.event(1)
        waiting = await acme.delivery(first, "retrying")
        assert (waiting["endpoint"], waiting["status"], waiting["result"]) == (endpoint, 503, "http_5xx")
        assert waiting["next_attempt_at"] > waiting["updated_at"]
        second = await acme.event(2, type="recording.deleted")
        assert (await acme.delivery(second, "delivered"))["status"] == 200
        for query, found in (
            ("state=delivered", {second}),
            ("state=retrying,dead", {first}),
            ("status=5xx", {first}),
            ("type=recording.deleted", {second}),
            ("type=recording.*", {first, second}),
            ("result=http_5xx", {first}),
            (f"endpoint={endpoint}&since=1h", {first, second}),
            ("until=1h", set()),
            (f"id={second}", {second}),
        ):
            page = await acme.get(f"/v1/deliveries?{query}")
            assert {each["event_id"] for each in page["data"]} == found, query
        page = await acme.get(f"/v1/webhooks/{endpoint}/deliveries?limit=1")
        assert [each["event_id"] for each in page["data"]] == [second]
        rest = await acme.get(f"/v1/webhooks/{endpoint}/deliveries?cursor={page['next_cursor']}")
        assert [each["event_id"] for each in rest["data"]] == [first]


async def test_view_delivery_logs(acme: Customer) -> None:
    async with inbox("status:500*1,200") as (box, base):
        await acme.endpoint(f"{base}/standard", schedule=[0, 0.2], headers={"x-token": "t0p"})
        event = await acme.event(7, ordering_key="k")
        found = await acme.get(f"/v1/deliveries/{(await acme.delivery(event, 'delivered', 2))['id']}")
        first, second = found["attempts"]
        assert [(each["number"], each["trigger"], each["state"]) for each in found["attempts"]] == [
            (1, "first", "retrying"),
            (2, "retry", "delivered"),
        ]
        assert (first["status"], first["response"]["status"], second["status"]) == (500, 500, 200)
        assert first["next_attempt_at"] and first["response"]["headers"] and second["response"]["body"]
        assert first["timing"]["total"] >= first["timing"]["first_byte"] > 0 and first["url"] == f"{base}/standard"
        request, received = found["request"], box.received[-1]
        assert request["body"].encode() == received.body and request["body_note"] is None
        assert request["headers"]["webhook-id"] == event and request["headers"]["webhook-attempt"] == "2"
        assert request["headers"]["x-token"] == request["headers"]["webhook-signature"] == "(hidden)"
        assert (found["sequence"], found["ordering_key"]) == (1, "k")


async def test_check_success_and_failure_rates(acme: Customer) -> None:
    async with inbox("status:500*2,200") as (_, base):
        endpoint = await acme.endpoint(f"{base}/standard", schedule=[0])
        other = await acme.endpoint(f"{base}/standard", events=["nothing.at.all"])
        for number in range(4):
            event = await acme.event(number)
            await acme.delivery(event, "dead" if number < 2 else "delivered")
        found = await acme.until("/v1/stats", lambda stats: stats["attempts"] == 4)
        assert (found["failed_attempts"], found["success_rate"], found["delivery_success_rate"]) == (2, 0.5, 0.5)
        assert (found["delivered"], found["dead"], found["cancelled"]) == (2, 2, 0)
        assert sum(each["attempts"] for each in found["hours"]) == 4
        latency = found["latency_ms"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
        assert (await acme.get(f"/v1/webhooks/{endpoint}/stats?since=1h"))["attempts"] == 4
        assert (await acme.get(f"/v1/webhooks/{other}/stats"))["success_rate"] is None


async def test_review_error_messages(acme: Customer) -> None:
    # garbage on a kept connection may be the rest of an earlier answer: it is asked once more on a fresh one
    async with inbox("status:401*1,garbage*2,redirect:https://elsewhere.example/*1,status:410") as (_, base):
        await acme.endpoint(f"{base}/standard", schedule=[0])
        said = []
        for number in range(3):
            found = await acme.delivery(await acme.event(number), "dead")
            said.append((found["result"], found["error"], found["hint"]["what"], found["hint"]["do"]))
        unauthorised, garbage, redirect = said
        assert unauthorised[0] == "http_4xx" and "signature" in unauthorised[3]
        assert garbage[0] == "protocol" and "HTTP" in garbage[2]
        assert redirect[0] == "http_3xx" and "not followed" in redirect[2]
        assert all(error for _, error, _, _ in said)
    await acme.endpoint("http://127.0.0.1:9/standard", schedule=[0], events=["closed.*"])
    page = await acme.until(
        f"/v1/deliveries?event={await acme.event(type='closed.port')}&result=refused", lambda page: bool(page["data"])
    )
    assert "no process listens" in page["data"][0]["hint"]["what"]


async def test_retry_failed_deliveries(acme: Customer) -> None:
    async with inbox("status:500*3,200") as (box, base):
        endpoint = await acme.endpoint(f"{base}/standard", schedule=[0])
        events = [await acme.event(number) for number in range(3)]
        dead = [await acme.delivery(event, "dead") for event in events]
        said = await acme.post(f"/v1/deliveries/{dead[0]['id']}/retry")
        assert said == {"id": dead[0]["id"], "asked": "retry", "was": "dead", "attempt": 2}
        found = await acme.get(f"/v1/deliveries/{(await acme.delivery(events[0], 'delivered', 2))['id']}")
        assert [(each["number"], each["trigger"]) for each in found["attempts"]] == [(1, "first"), (2, "manual")]
        tried = await acme.post("/v1/deliveries/retry", {"endpoint": endpoint, "dry_run": True})
        assert (tried["matched"], tried["retried"]) == (2, 0)
        done = await acme.post("/v1/deliveries/retry", {"endpoint": endpoint, "since": "1h"})
        assert (done["retried"], done["skipped"], done["next_cursor"]) == (2, {}, None)
        for event in events[1:]:
            assert (await acme.delivery(event, "delivered", 2))["id"] in {each["id"] for each in dead}
        assert len(box.received) == 6 and set(box.ids()) == set(events), "the same events, each once more"


async def test_the_monitoring_panel_shows_deliveries_failures_and_payloads(shared: Service) -> None:
    customer = Customer(shared, await shared.key(f"vox-{token_hex(4)}", profile="voxscriber"))
    async with inbox("status:500*1,200") as (box, base):
        await customer.endpoint(f"{base}/voxscriber", events=["transcription.completed"], schedule=[0])
        failed = await customer.event(type="transcription.completed", data={"uploadId": "u1"})
        dead = await customer.delivery(failed, "dead")
        fine = await customer.event(type="transcription.completed", data={"uploadId": "u2"})
        await customer.delivery(fine, "delivered")
        everything = (await customer.get("/v1/deliveries"))["data"]
        assert {each["event_id"] for each in everything} == {failed, fine}
        assert [each["event_id"] for each in (await customer.get("/v1/deliveries?state=dead"))["data"]] == [failed]
        shown = await customer.get(f"/v1/deliveries/{dead['id']}")
        assert json.loads(shown["request"]["body"]) == bodies(box)[0]
        assert shown["request"]["headers"]["X-Webhook-Signature"] == "(hidden)"
        told = await customer.get(f"/v1/events/{failed}")
        assert told["data"] == {"uploadId": "u1"}


async def test_a_waiting_delivery_is_retried_at_once_and_has_one_final_state(shared: Service, acme: Customer) -> None:
    before = await passed_over(shared)
    async with inbox("status:500*1,200") as (box, base):
        await acme.endpoint(f"{base}/standard", schedule=[0, WAIT_S])
        event = await acme.event()
        waiting = await acme.delivery(event, "retrying", 1)
        await acme.post(f"/v1/deliveries/{waiting['id']}/retry")
        await acme.delivery(event, "delivered", 2)
        await passed_over(shared, before)
        assert box.ids().count(event) == 2, "the copy in the ladder was passed over"
        found = await acme.get(f"/v1/deliveries/{waiting['id']}")
        assert (found["state"], len(found["attempts"])) == ("delivered", 2)


async def test_a_cancelled_delivery_stays_cancelled_and_its_key_queue_continues(
    shared: Service, acme: Customer
) -> None:
    before = await passed_over(shared)
    async with inbox("status:500*1,200") as (box, base):
        await acme.endpoint(f"{base}/standard", schedule=[0, WAIT_S], ordering="fifo")
        first, second = [await acme.event(number, ordering_key="k") for number in (1, 2)]
        waiting = await acme.delivery(first, "retrying", 1)
        assert box.ids() == [first]
        await acme.post(f"/v1/deliveries/{waiting['id']}/cancel")
        await acme.delivery(first, "cancelled", 1)
        await acme.delivery(second, "delivered")
        await passed_over(shared, before)
        third = await acme.event(3, ordering_key="k")
        await acme.delivery(third, "delivered")
        assert box.ids() == [first, second, third]
        ended = await acme.get(f"/v1/deliveries/{waiting['id']}")
        assert (ended["state"], ended["result"], ended["hint"]["what"]) == (
            "cancelled",
            "http_5xx",
            "It was cancelled on request.",
        )
        await acme.post(f"/v1/deliveries/{waiting['id']}/cancel", status=409)
        await acme.post(f"/v1/deliveries/{waiting['id']}/retry")
        await acme.delivery(first, "delivered", 2)


async def test_a_blocking_dead_delivery_is_retried_and_its_key_queue_continues(acme: Customer) -> None:
    async with inbox("status:500*1,200") as (box, base):
        await acme.endpoint(f"{base}/standard", schedule=[0], ordering="fifo", on_exhausted="block")
        first, second = [await acme.event(number, ordering_key="k") for number in (1, 2)]
        dead = await acme.delivery(first, "dead")
        await acme.post(f"/v1/deliveries/{dead['id']}/retry")
        await acme.delivery(second, "delivered")
        assert box.ids() == [first, first, second]


async def test_an_event_shows_the_reason_for_each_endpoint(acme: Customer) -> None:
    async with inbox() as (_, base):
        got = await acme.endpoint(f"{base}/standard")
        deaf = await acme.endpoint(f"{base}/standard", events=["meeting.*"])
        off = await acme.endpoint(f"{base}/standard")
        await acme.post(f"/v1/webhooks/{off}/disable", status=200)
        event = await acme.event(5)
        delivered = await acme.delivery(event, "delivered")
        late = await acme.endpoint(f"{base}/standard", events=["recording.created"])
        told = await acme.get(f"/v1/events/{event}")
        why = {each["endpoint"]: each["why"] for each in told["endpoints"]}
        assert why == {got: "matched", deaf: "not_subscribed", off: "disabled", late: "created_later"}
        (mine,) = [each for each in told["endpoints"] if each["endpoint"] == got]
        assert (mine["delivery"], mine["state"]) == (delivered["id"], "delivered")
        assert told["data"] == {"n": 5} and told["duplicate_of"] is None

        kind = {"type": "order.placed"}
        once = await acme.event(6, id="order-6", idempotency_key="six", **kind)
        await acme.delivery(once, "delivered")
        again = await acme.event(6, id="order-6b", idempotency_key="six", **kind)
        after = await acme.event(7, **kind)
        await acme.delivery(after, "delivered")
        dropped = await acme.until(f"/v1/events/{again}", lambda told: told["duplicate_of"] is not None)
        first = await acme.get(f"/v1/events/{once}")
        assert dropped["duplicate_of"]["offset"] == first["offset"]
        assert {each["why"] for each in dropped["endpoints"]} >= {"duplicate", "not_subscribed"}


async def test_an_unmatched_event_is_listed_and_explained(shared: Service, acme: Customer) -> None:
    endpoint = await acme.endpoint("https://x.example/", events=["meeting.*"])
    alone = await acme.event(1, type="recording.created")
    listed = await acme.until(f"/v1/events?id={alone}", lambda page: bool(page["data"]))
    assert [(each["outcome"], each["type"]) for each in listed["data"]] == [("unmatched", "recording.created")]
    shown = await acme.get(f"/v1/events/{alone}")
    assert (shown["outcome"], shown["data"]) == ("unmatched", {"n": 1})
    assert {each["endpoint"]: each["why"] for each in shown["endpoints"]}[endpoint] == "not_subscribed"

    typo = f"nobody-{alone}"
    bad = {"type": "no type", "id": typo, "tenant": typo, "data": {}}
    async with producer(shared.bootstrap) as kafka:
        await kafka.send_and_wait(f"{shared.prefix}events.raw", json.dumps(bad).encode())
    words = ("--url", shared.api_url, "--key", ADMIN_TOKEN)
    operator = Customer(shared, ADMIN_TOKEN)
    await operator.until(f"/v1/events?id={typo}&outcome=rejected", lambda page: bool(page["data"]))
    rows = await shared.cli("events", "list", "--unknown", "tenant", "--id", typo, "-o", "json", *words)
    assert (rows[0]["tenant"], rows[0]["tenant_known"], rows[0]["reason"]) == (typo, False, "bad_type")
    table = await shared.cli("events", "list", "--unknown", "tenant", "--id", typo, *words)
    assert "rejected:" in table
    assert "rejected" in await shared.cli("events", "show", typo, *words)


async def test_the_commands_show_retry_and_cancel(shared: Service, acme: Customer, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(acme.key)

    async def hookstream(*words: str, expect: int = 0) -> Any:
        return await shared.cli(*words, "--url", shared.api_url, "--key-file", str(key_file), expect=expect)

    async with inbox("status:500*3,200") as (_, base):
        endpoint = await acme.endpoint(f"{base}/standard", schedule=[0, 3600])
        events = [await acme.event(number) for number in range(3)]
        rows: list[Mapping[str, Any]] = [await acme.delivery(event, "retrying") for event in events]
        listed = await hookstream("deliveries", "list", "--state", "retrying", "--since", "1h", "-o", "json")
        assert {each["id"] for each in listed} == {each["id"] for each in rows}
        table = await hookstream("deliveries", "list", "--endpoint", endpoint, "--limit", "2")
        assert "retrying" in table and "There are more" in table
        shown = await hookstream("deliveries", "show", str(rows[0]["id"]))
        assert "http_5xx" in shown and "→" in shown and '"n":0' in shown.replace(" ", "")
        one = await hookstream("deliveries", "retry", str(rows[0]["id"]), "-o", "json")
        assert one["asked"] == "retry"
        await acme.delivery(events[0], "delivered", 2)
        ended = await hookstream("deliveries", "cancel", str(rows[1]["id"]), "-o", "json")
        assert ended["asked"] == "cancel"
        await acme.delivery(events[1], "cancelled")
        many = ("deliveries", "retry", "--endpoint", endpoint, "--state", "retrying,cancelled")
        await acme.until("/v1/deliveries?state=retrying,cancelled", lambda page: len(page["data"]) == 2)
        assert "2 would be retried" in await hookstream(*many, "--dry-run")
        assert "2 are retried" in await hookstream(*many)
        for event in events[1:]:
            await acme.delivery(event, "delivered", 2)
        assert "would" not in await hookstream("deliveries", "retry", expect=2)
        told = await hookstream("events", "show", events[0])
        assert "matched" in told and endpoint in told
        counted = await hookstream("stats", "-o", "json")
        assert (counted["attempts"], counted["delivered"]) == (6, 3)
        assert "50.00 %" in await hookstream("stats", endpoint)


async def test_the_operator_names_the_tenant(shared: Service) -> None:
    tenant = f"acme-{token_hex(4)}"
    customer = Customer(shared, await shared.key(tenant))
    async with inbox() as (_, base):
        await customer.endpoint(f"{base}/standard")
        found = await customer.delivery(await customer.event(), "delivered")
        for mode, status in (("live", 200), ("test", 404)):
            headers = {"Hookstream-Tenant": tenant, "Hookstream-Mode": mode}
            answer = await shared.ask("GET", f"/v1/deliveries/{found['id']}", headers=headers)
            assert answer.status == status
        listed = await shared.cli(
            "deliveries",
            "list",
            "--tenant",
            tenant,
            "--url",
            shared.api_url,
            "--key",
            ADMIN_TOKEN,
            "-o",
            "json",
        )
        assert [each["id"] for each in listed] == [found["id"]]
