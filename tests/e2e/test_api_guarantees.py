"""What the API promises when there are several processes of it, and when they are killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from tests.conftest import RealBroker
from tests.e2e.harness import Answer, Service, inbox, pause, producer, service
from tests.patience import PATIENCE_S


@asynccontextmanager
async def second_api(first: Service, folder: Path) -> AsyncIterator[Service]:
    """Another process with only the API, on the same Kafka."""
    other = Service(first.bootstrap, first.prefix, folder, roles=("api",))
    await other.start()
    try:
        yield other
    finally:
        if other.alive:
            await other.stop()


async def test_concurrent_updates_through_two_processes_lose_nothing(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path / "a") as one, second_api(one, tmp_path / "b") as two:
        key = await one.key("acme")
        made = await one.ask("POST", "/v1/webhooks", {"url": "https://x.example", "events": "*"}, key=key)
        path = f"/v1/webhooks/{made.body['id']}"
        accepted = 0
        for turn in range(10):
            tag = (await one.ask("GET", path, key=key)).headers["ETag"]
            answers = await asyncio.gather(
                *(
                    each.ask("PATCH", path, {"metadata": {f"{turn}": name}}, key=key, headers={"If-Match": tag})
                    for name, each in (("one", one), ("two", two))
                )
            )
            assert sorted(each.status for each in answers) == [200, 412]
            accepted += 1
        without = [
            each.ask("PATCH", path, {field: "changed"}, key=key)
            for each, field in ((one, "description"), (two, "url"))
            if field == "description"
        ] + [two.ask("PATCH", path, {"timeout": 5}, key=key)]
        assert {each.status for each in await asyncio.gather(*without)} == {200}
        last = (await two.ask("GET", path, key=key)).body
        assert (last["description"], last["timeout"], last["version"]) == ("changed", 5, 1 + accepted + 2)


async def test_a_killed_api_and_a_retry_make_one_endpoint(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path / "a") as one:
        key = await one.key("acme")
        for turn in range(4):
            body = {"url": f"https://x.example/{turn}", "events": "*"}
            again = {"Idempotency-Key": f"create-{turn}"}
            async with second_api(one, tmp_path / f"b{turn}") as victim:
                asking = asyncio.create_task(victim.ask("POST", "/v1/webhooks", body, key=key, headers=again))
                await pause(0.004 * turn)  # somewhere between the request and its answer
                victim.kill()
                await asyncio.gather(asking, return_exceptions=True)
                await victim.ended()
            retried = await one.ask("POST", "/v1/webhooks", body, key=key, headers=again)
            assert retried.status == 201, retried
            once_more = await one.ask("POST", "/v1/webhooks", body, key=key, headers=again)
            assert once_more.body == retried.body
            other = await one.ask("POST", "/v1/webhooks", body | {"description": "x"}, key=key, headers=again)
            assert other.status == 422
        listed = await one.ask("GET", "/v1/webhooks?limit=100", key=key)
        assert [each["url"] for each in listed.body["data"]] == [f"https://x.example/{turn}" for turn in range(4)]


async def answered(service: Service, method: str, path: str, body: object, key: str, status: int) -> Answer:
    """The answer; a request is repeated while the registry does not answer, as on a busy machine at the start."""
    headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await service.ask(method, path, body, key=key, headers=headers)).status == 503:
            await pause(0.2)
    assert answer.status == status, answer
    return answer


async def removed(service: Service, path: str, key: str) -> None:
    """Delete an endpoint; the repetition of a request without an answer may find that the first one has done it."""
    done = {204}
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await service.ask("DELETE", path, key=key)).status == 503:
            done.add(404)
            await pause(0.2)
    assert answer.status in done, answer


async def test_an_event_after_the_answer_sees_the_change_in_other_processes(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with (
        service(broker.bootstrap, prefix, tmp_path / "a") as one,
        second_api(one, tmp_path / "b") as two,
        inbox() as (box, base),
        producer(broker.bootstrap) as kafka,
    ):
        key = await one.key("acme")
        async with asyncio.timeout(PATIENCE_S):
            while (await two.ask("GET", "/v1/webhooks", key=key)).status == 401:  # it has not read of the key yet
                await pause(0.05)
        stop = asyncio.Event()

        async def load() -> None:
            number = 0
            while not stop.is_set() and number < 20_000:
                number += 1
                event = {"type": "noise.x", "tenant": "acme", "data": number}
                await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=b"%d" % (number % 50))

        async def tell(name: str, kind: str) -> None:
            event = {"type": kind, "tenant": "acme", "id": name, "data": {}}
            await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=name.encode())

        loading = asyncio.create_task(load())
        for turn in range(8):
            path, kind = f"/standard/{turn}", f"step.t{turn}"
            made = await answered(two, "POST", "/v1/webhooks", {"url": base + path, "events": [kind]}, key, 201)
            await tell(f"created{turn}", kind)
            await box.until(lambda wanted=f"created{turn}": wanted in box.ids())  # type: ignore[misc]
            url = f"/v1/webhooks/{made.body['id']}"
            await answered(two, "PATCH", url, {"events": [f"{kind}x"]}, key, 200)
            await tell(f"unwanted{turn}", kind)
            await tell(f"changed{turn}", f"{kind}x")
            await box.until(lambda wanted=f"changed{turn}": wanted in box.ids())  # type: ignore[misc]
            await removed(two, url, key)
            await tell(f"removed{turn}", f"{kind}x")
        await answered(one, "POST", "/v1/webhooks", {"url": f"{base}/standard/last", "events": ["last"]}, key, 201)
        await tell("last", "last")
        await box.until(lambda: "last" in box.ids())
        stop.set()
        await loading
        assert not [each for each in box.ids() if each.startswith(("unwanted", "removed"))]


async def test_a_repetition_during_the_first_request_gets_its_response(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running:
        key = await running.key("acme")
        body = {"url": "https://x.example", "events": "*"}
        answers: list[Answer] = await asyncio.gather(
            *(running.ask("POST", "/v1/webhooks", body, key=key, headers={"Idempotency-Key": "same"}) for _ in range(5))
        )
        assert {each.status for each in answers} == {201}
        assert len({json.dumps(each.body) for each in answers}) == 1
        assert sum("Idempotency-Replayed" in each.headers for each in answers) == 4


async def test_addresses_are_refused_in_a_real_run(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    """Registered while it was allowed; then the operator closes the network, and a name leads into it."""
    wide = {"HOOKSTREAM_EGRESS_ALLOW": "127.0.0.0/8,::1/128"}
    narrow = {"HOOKSTREAM_EGRESS_ALLOW": "127.0.0.9/32", "HOOKSTREAM_TIME_SCALE": "0.001"}
    async with inbox() as (box, base), inbox(f"redirect:{base}/standard/redirected") as (_, moving):
        port = base.rsplit(":", 1)[1]
        async with service(broker.bootstrap, prefix, tmp_path, wide) as running:
            key = await running.key("acme")
            for url in (f"http://[::ffff:127.0.0.1]:{port}/standard/mapped", f"http://localhost:{port}/standard/name"):
                made = await running.ask(
                    "POST", "/v1/webhooks", {"url": url, "events": ["a"], "schedule": [0]}, key=key
                )
                assert made.status == 201, made
            redirect = {"url": f"{moving}/standard/x", "events": ["r"], "schedule": [0]}
            made = await running.ask("POST", "/v1/webhooks", redirect, key=key)
            told = await running.ask("POST", f"/v1/webhooks/{made.body['id']}/test", {"type": "r"}, key=key)
            assert (told.body["ok"], told.body["status"], told.body["result"]) == (False, 302, "http_3xx")
        async with service(broker.bootstrap, prefix, tmp_path, narrow) as running:
            listed = await running.ask("GET", "/v1/webhooks", key=key)
            for each in listed.body["data"][:2]:
                told = await running.ask("POST", f"/v1/webhooks/{each['id']}/test", {"type": "a"}, key=key)
                assert (told.body["result"], told.body["response"]) == ("blocked_address", None), told
            refused = await running.ask(
                "POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{port}/", "events": "*"}, key=key
            )
            assert refused.status == 422
        assert not box.received, "nothing was sent inside"


async def test_http_is_refused_unless_the_operator_allows_it(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path, {"HOOKSTREAM_ALLOW_HTTP": "false"}) as running:
        key = await running.key("acme", profile="bota")
        answer = await running.ask("POST", "/v1/webhooks", {"url": "http://x.example/", "events": "*"}, key=key)
        assert (answer.status, "https" in answer.body["detail"]) == (422, True), answer


async def test_rate_limits_have_retry_after(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path, {"HOOKSTREAM_API_RATE_LIMIT": "5"}) as running:
        key = await running.key("acme")
        answers: list[Answer] = []
        while not any(each.status == 429 for each in answers):  # on a slow machine 12 may take a second
            answers += await asyncio.gather(*(running.ask("GET", "/v1/webhooks", key=key) for _ in range(12)))
        refused = [each for each in answers if each.status == 429]
        assert refused and all(int(each.headers["Retry-After"]) >= 1 for each in refused)
        assert all("RateLimit" in each.headers and "RateLimit-Policy" in each.headers for each in answers)
        big: Any = {"type": "a", "data": "x" * 300_000}
        other = await running.key("acme")
        assert (await running.ask("POST", "/v1/events", big, key=other)).status == 413
        async with aiohttp.ClientSession() as http:
            headers = {"authorization": f"Bearer {other}", "content-type": "text/plain"}
            async with http.post(f"{running.api_url}/v1/events", data=b"{}", headers=headers) as answer:
                assert answer.status == 415
