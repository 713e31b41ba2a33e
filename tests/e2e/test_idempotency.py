"""An idempotency key is delivered once, wherever and however often it is used; what was dropped is told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

from app.adapters.clock import SystemClock
from tests.conftest import RealBroker
from tests.e2e.harness import Answer, Service, inbox, producer, read, service
from tests.e2e.test_api_guarantees import second_api

AT_ONCE = 20


async def post(each: Service, key: str, body: dict[str, Any], header: str | None = None) -> Answer:
    return await each.ask(
        "POST", "/v1/events", body, key=key, headers={"Idempotency-Key": header} if header is not None else None
    )


def dropped(record: Any) -> tuple[bytes, bytes]:
    """The place of the event that a record of `events.duplicates` tells of; it may be told more than once."""
    headers = dict(record.headers)
    return headers["duplicate-partition"], headers["duplicate-offset"]


async def delivered(running: Service, markers: set[str]) -> Counter[tuple[str, str]]:
    """(endpoint, event) → how often fan-out has delivered it, once every endpoint has had its marker."""

    def names(record: Any) -> tuple[str, str]:
        return record.key.decode(), dict(record.headers)["event-id"].decode()

    topic = f"{running.prefix}deliveries"
    records = await read(running.bootstrap, topic, lambda found: {names(each)[1] for each in found} >= markers)
    return Counter(map(names, records))


async def test_the_same_key_at_the_same_moment_on_two_processes_is_one_delivery(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    quick = {"HOOKSTREAM_API_RATE_LIMIT": "1000"}
    async with (
        service(broker.bootstrap, prefix, tmp_path / "a", quick) as one,
        second_api(one, tmp_path / "b") as two,
        inbox() as (box, base),
    ):
        keys = {who: await one.key(*who) for who in (("acme", "live"), ("acme", "test"), ("globex", "live"))}
        for (tenant, mode), key in keys.items():
            path = f"/standard/{tenant}-{mode}"
            made = await one.ask("POST", "/v1/webhooks", {"url": base + path, "events": "*"}, key=key)
            assert made.status == 201, made
        live = keys["acme", "live"]
        ids: dict[str, str] = {}
        for name, body, header in (
            ("header", {"type": "a.b", "data": 1}, "k1"),
            ("field", {"type": "a.b", "data": 1, "idempotency_key": "k2"}, None),
            ("id and header", {"type": "a.b", "data": 1, "id": "evt_own"}, "k3"),
            ("ordered", {"type": "a.b", "data": 1, "ordering_key": "o"}, "k4"),
        ):
            answers = await asyncio.gather(*(post(each, live, body, header) for each in (one, two) * AT_ONCE))
            assert {each.status for each in answers} == {202}, answers
            (ids[name],) = {each.body["id"] for each in answers}
        assert ids["id and header"] == "evt_own"
        # another body: refused where the process knows the key, else accepted and dropped
        answers = await asyncio.gather(
            *(post(each, live, {"type": "a.b", "data": number}, "k5") for number, each in enumerate((one, two) * 5))
        )
        assert {each.status for each in answers} == {202, 422}, answers
        (ids["other bodies"],) = {each.body["id"] for each in answers if each.status == 202}
        # the same keys in another mode and of another tenant are other events
        for who in (("acme", "test"), ("globex", "live")):
            for name, body, header in (
                ("header", {"type": "a.b", "data": 1}, "k1"),
                ("field", {"type": "a.b", "data": 1, "idempotency_key": "k2"}, None),
            ):
                answer = await post(two, keys[who], body, header)
                assert answer.status == 202
                ids[f"{name} of {who}"] = answer.body["id"]
        assert len(set(ids.values())) == len(ids)
        markers = set()
        for tenant, mode in keys:
            for ordering_key in (None, "o"):  # one for each partition that was written to
                marker = {"type": "a.b", "id": f"end-{tenant}-{mode}-{ordering_key}", "data": 0}
                marker |= {"ordering_key": ordering_key} if ordering_key else {}
                await post(one, keys[tenant, mode], marker)
                markers.add(str(marker["id"]))
        counts = await delivered(one, markers)
        await box.until(lambda: set(box.ids()) >= markers | set(ids.values()))
        assert Counter(event for _, event in counts) == Counter(markers | set(ids.values()))
        assert set(counts.values()) == {1}
        assert Counter(box.ids()) == Counter(markers | set(ids.values()))


async def test_the_idempotency_header_is_the_key_and_dropped_records_are_listed(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, producer(broker.bootstrap) as kafka:
        await running.add("http://127.0.0.1:9/x", tenant="acme", events="*")
        raw = f"{prefix}events.raw"

        async def send(number: int, *headers: tuple[str, bytes], **fields: Any) -> Any:
            value = json.dumps({"type": "a.b", "data": number, "id": f"e{number}", **fields}).encode()
            return await kafka.send_and_wait(raw, value, key=b"k", headers=list(headers))

        acme, key = ("tenant", b"acme"), ("idempotency-key", b"same")
        first = await send(0, acme, key)
        second = await send(1, acme, key, idempotency_key="the header wins")
        third = await send(2, tenant="acme", idempotency_key="same")
        await send(3, key)  # of the tenant `default`: another one
        await send(4, acme, key, ("mode", b"test"))
        await kafka.send_and_wait(raw, b"no event", key=b"k", headers=[acme])
        await send(5, acme)
        assert {event for _, event in await delivered(running, {"e5"})} == {"e0", "e5"}
        (record, _) = await read(broker.bootstrap, f"{prefix}events.duplicates", lambda found: len(found) == 2)
        assert (record.key, record.value, record.partition) == (b"k", b"", first.partition)
        told = await running.cli("events", "duplicates", "--tenant", "acme", "--since", "1h", "-o", "json")
        assert [(each["partition"], each["offset"], each["event_id"]) for each in told] == [
            (second.partition, second.offset, "e1"),
            (third.partition, third.offset, "e2"),
        ]
        assert {(each["first_offset"], each["first_partition"]) for each in told} == {(first.offset, first.partition)}
        assert {(each["tenant"], each["mode"], each["idempotency_key"], each["topic"]) for each in told} == {
            ("acme", "live", "same", raw)
        }
        assert await running.cli("events", "duplicates", "--tenant", "globex", "-o", "json") == []
        assert await running.cli("events", "duplicates", "--since", "2100-01-01T00:00:00Z", "-o", "json") == []
        assert len(await running.cli("events", "duplicates", "--limit", "1", "-o", "json")) == 1
        await read(broker.bootstrap, f"{prefix}events.rejected", lambda found: len(found) == 1)
        (rejected,) = await running.cli("events", "rejected", "--tenant", "acme", "-o", "json")
        assert (rejected["reason"], rejected["partition"], rejected["topic"]) == ("not_json", first.partition, raw)
        assert "same" in await running.cli("events", "duplicates")


async def test_the_idempotency_window_survives_handover_empty_disk_kill_and_old_disk(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    def worker(folder: str) -> Service:
        return Service(broker.bootstrap, prefix, tmp_path / folder, roles=("fanout",))

    hour_ms, now_ms = 3_600_000, SystemClock().now_ms()
    async with (
        service(broker.bootstrap, prefix, tmp_path / "registry", roles=("registry",)) as running,
        producer(broker.bootstrap) as kafka,
    ):
        await running.add("http://127.0.0.1:9/x", events="*")

        async def send(key: str, hours_ago: float = 0) -> None:
            event = {"type": "a.b", "data": 0, "idempotency_key": key, "ordering_key": "o"}
            at_ms = round(now_ms - hours_ago * hour_ms)
            await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), b"k", timestamp_ms=at_ms)

        async def sequences(number: int) -> list[int]:
            """Those of all deliveries in the order of the log, as soon as one has this number."""

            def of(records: list[Any]) -> list[int]:
                by_offset = sorted(records, key=lambda record: record.offset)
                return [int(dict(record.headers)["sequence"]) for record in by_offset]

            records = await read(broker.bootstrap, f"{prefix}deliveries", lambda found: number in of(found))
            events = {(dict(record.headers)["sequence"], dict(record.headers)["event-id"]) for record in records}
            assert len(events) == len({sequence for sequence, _ in events}), "two events have one sequence"
            return of(records)

        first, second = worker("a"), worker("b")
        await first.start()
        await send("window over", 25)
        await send("in the window", 23)
        assert await sequences(2) == [1, 2]
        assert await first.stop() == 0

        await second.start()  # all that it knows is in the changelogs
        await send("in the window")
        await send("window over")
        assert await sequences(3) == [1, 2, 3]
        await send("seen by b alone")
        assert await sequences(4) == [1, 2, 3, 4]
        second.kill()
        await second.ended()

        again = worker("a")  # what it has on its disk is older than the changelogs
        await again.start()
        for key in ("in the window", "window over", "seen by b alone", "new"):
            await send(key)
        found = await sequences(5)
        assert (found[:4], found[-1]) == ([1, 2, 3, 4], 5)
        assert set(found[4:-1]) <= {3, 4}, "what b had not committed is delivered again, as it was"
        await read(broker.bootstrap, f"{prefix}events.duplicates", lambda found: len(set(map(dropped, found))) == 4)
        told = await running.cli("events", "duplicates", "-o", "json")
        assert Counter(each["idempotency_key"] for each in told) == {
            "in the window": 2,
            "window over": 1,
            "seen by b alone": 1,
        }
        assert await again.stop() == 0
