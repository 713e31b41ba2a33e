"""Events of exactly the limit, and one byte over: delivered in every form that they take, or refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from app.profiles.catalog import PROFILES
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, read, service

LIMIT = 262_144


def event(id_: str, size: int, **fields: Any) -> bytes:
    """An event whose record value has exactly that size."""
    made = {"type": "a.b", "id": id_, "data": {"pad": ""}, **fields}
    bare = len(json.dumps(made, separators=(",", ":")))
    made["data"] = {"pad": "x" * (size - bare)}
    value = json.dumps(made, separators=(",", ":")).encode()
    assert len(value) == size
    return value


def wide(number: int, size: int) -> list[tuple[str, bytes]]:
    """Headers of a foreign system."""
    return [(f"x-{each}", os.urandom(size)) for each in range(number)]


async def append(kafka: AIOKafkaProducer, topic: str) -> tuple[set[str], dict[str, str]]:
    """Everything that is on the border; (ids to be delivered, key → reason of those to be rejected)."""
    good = {
        "exact": (event("exact", LIMIT), []),
        "metadata": (event("metadata", LIMIT, metadata={"m": "y" * 200_000}), []),
        "keys": (event("keys", LIMIT, ordering_key="ö" * 512, idempotency_key="ü" * 512), []),
        "escaped": (event("escaped", LIMIT, ordering_key='\x01"\\' * 170), []),
        "many": (event("many", LIMIT), wide(5000, 1)),
        "huge": (event("huge", LIMIT), wide(2, 300_000)),
        "moment": (event("moment", LIMIT, created_at="2026-01-01T00:00:00." + "1" * 40 + "Z"), []),
    }
    bad = {
        "over": (event("over", LIMIT + 1), [], "too_large"),
        "far": (event("far", 900_000), [], "too_large"),
        "over-many": (event("over-many", LIMIT + 1), wide(2000, 1), "too_large"),
        "over-huge": (event("over-huge", LIMIT + 1), wide(2, 350_000), "too_large"),
        "long-key": (event("long-key", LIMIT, ordering_key="k" * 200_000), [], "bad_key"),
        "long-moment": (
            event("long-moment", LIMIT, created_at="2026-01-01T00:00:00." + "1" * 200_000),
            [],
            "bad_created_at",
        ),
        "header-key": (event("header-key", LIMIT), [("ordering-key", b"k" * 700_000)], "bad_key"),
    }
    for name, (value, headers) in good.items():
        await kafka.send_and_wait(topic, value, key=name.encode(), headers=headers)
    for name, (value, headers, _) in bad.items():
        await kafka.send_and_wait(topic, value, key=name.encode(), headers=headers)
    return set(good), {name: reason for name, (_, _, reason) in bad.items()}


async def compressed(bootstrap: str, topic: str) -> None:
    """What fits into Kafka only because it is compressed."""
    kafka = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip", max_request_size=64 * 1024 * 1024)
    await kafka.start()
    try:
        await kafka.send_and_wait(
            topic, event("bomb", 20_000_000), key=b"bomb" * 100_000, headers=[("x", bytes(9_000_000))]
        )
        # the same for our own topics: no copy of it would fit anywhere
        prefix = topic.removesuffix("events.raw")
        for name in ("deliveries", "deliveries.ordered", "deliveries.delay.1s", "deliveries.dead", "registry.commands"):
            headers = [("ordering-key", b"k"), ("delivery-id", b"d"), ("due-at", b"1"), ("reason", b"paused")]
            await kafka.send_and_wait(prefix + name, bytes(20_000_000), key=b"ep", headers=headers, partition=0)
    finally:
        await kafka.stop()


async def posted(running: Service, key: str) -> None:
    """The same border by HTTP."""
    sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    async with aiohttp.ClientSession(running.api_url, headers=sent) as http:
        for size, status in ((LIMIT, 202), (LIMIT + 1, 413), (900_000, 413)):
            async with http.post("/v1/events", data=event(f"posted-{size}", size)) as answer:
                said = await answer.json(content_type=None)
                assert answer.status == status, said
                assert status == 202 or (said["type"][-9:], str(LIMIT) in said["detail"]) == ("too_large", True)


async def endpoint(running: Service, key: str, url: str, **fields: Any) -> None:
    """Register one for all events."""
    made = await running.ask("POST", "/v1/webhooks", {"url": url, "events": "*", **fields}, key=key)
    assert made.status == 201, made


async def test_the_limit_exactly_and_one_byte_over(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    topic = f"{prefix}events.raw"
    async with (
        service(broker.bootstrap, prefix, tmp_path) as running,
        inbox() as (box, base),
        inbox("status:500") as (broken, broken_base),
    ):
        paths, key = [], await running.key("default")
        for profile in PROFILES:
            await endpoint(running, key, f"{base}/{profile}/a", profile=profile)
            await endpoint(
                running,
                key,
                f"{broken_base}/{profile}/dead",
                profile=profile,
                schedule=[0, 0.001],
                disable_after_failures=0,
            )
            paths.append(f"/{profile}/a")
        await endpoint(running, key, f"{base}/standard/ordered", ordering="fifo")
        kafka = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", max_request_size=4 * 1024 * 1024)
        await kafka.start()
        try:
            good, bad = await append(kafka, topic)
            for size in (1_100_000, 3_000_000):  # beyond what the topic takes: the producer is told
                try:
                    await kafka.send_and_wait(topic, os.urandom(size))
                except KafkaError:
                    continue
                raise AssertionError(f"{size} bytes were taken")
        finally:
            await kafka.stop()
        await posted(running, key)
        good.add(f"posted-{LIMIT}")
        await compressed(broker.bootstrap, topic)
        for path in [*paths, "/standard/ordered"]:
            await box.until(lambda path=path: set(box.ids(path)) >= good)  # type: ignore[misc]
        assert set(box.ids()) == good
        assert all(each.verified is not False for each in box.received)
        assert min(len(each.body) for each in box.received) > 50_000
        number = len(good) * len(PROFILES)
        await broken.until(lambda: len(broken.received) >= 2 * number)
        dead = await read(broker.bootstrap, f"{prefix}deliveries.dead", lambda seen: len(seen) >= number + 1)
        exhausted = [each for each in dead if ("reason", b"exhausted") in each.headers]
        assert len(exhausted) == number and {len(each.value) for each in exhausted} == {LIMIT}
        rejected = await read(broker.bootstrap, f"{prefix}events.rejected", lambda seen: len(seen) >= len(bad) + 1)
        reasons = {each.key[:40].decode(): dict(each.headers)["rejected-reason"].decode() for each in rejected}
        assert reasons == bad | {("bomb" * 10): "too_large"}
        assert "role_restarts_total{" not in await running.metrics()
