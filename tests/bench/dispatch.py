"""Dispatch on one core, Kafka included, beside a tuned aiohttp session that only posts.

As a child it is given `role` or `session` and a `Task`, and answers with a `Run`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from app.adapters.clock import SystemClock, SystemDice
from app.adapters.http.sender import HttpSender
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.adapters.secrets.tokens import new_signing_secret
from app.core.directory import Directory
from app.core.egress import EgressPolicy
from app.core.model import ids
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.records import delivery as delivery_record
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.roles.dispatch.lanes import LaneLimits
from app.roles.dispatch.role.worker import DispatchRole
from app.runtime.topics import topics_of
from tests.bench.sampling import sampled
from tests.bench.sender import IN_FLIGHT, through_session
from tests.bench.stage import Run, Stage, Task, answer, begin, settings_of
from tests.bench.stopwatch import Stopwatch, until
from tests.kafka import clients_at

ENDPOINTS = 100
_BODY_BYTES = 1024


async def role(task: Task) -> Run:
    """The dispatch role over deliveries that wait in Kafka."""
    topics = topics_of(settings_of(task))
    meter = Stopwatch("deliveries_total", "delivered", task.count)
    log = KafkaProducer(
        clients_at(task.bootstrap), client_id="bench", meter=meter, linger_s={topics.name(TopicName.ATTEMPTS): 0.005}
    )
    await log.start(topics.all_names())
    feed = KafkaDirectoryFeed(
        clients_at(task.bootstrap), topics.name(TopicName.REGISTRY), client_id="bench", directory=Directory()
    )
    await feed.start()
    ring = AesKeyRing(generate_ring())
    _register(feed.directory, ring, task.receiver)
    sender = HttpSender(EgressPolicy(allow=EgressPolicy.networks(["127.0.0.0/8"]), allow_http=True))
    await sender.start()
    await _fill(log, topics, task.count)
    source = KafkaGroupConsumer(
        clients_at(task.bootstrap),
        group=f"{task.prefix}dispatch",
        client_id="bench",
        topics=[topics.name(TopicName.DELIVERIES)],
    )
    worker = DispatchRole(
        source=source,
        producer=log,
        sender=sender,
        feed=feed,
        keyring=ring,
        topics=topics,
        clock=SystemClock(),
        dice=SystemDice(),
        meter=meter,
        limits=LaneLimits(),
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as app/cli/connect/process_context.py does for the product
    running = asyncio.create_task(worker.run())
    with sampled(task.profile) as samples:
        await until(meter.done, running, 60)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await feed.stop()
    await sender.close()
    await log.close()
    text = samples.text(task.count, meter.cpu_seconds) if task.profile else ""
    return Run(count=task.count, seconds=meter.seconds, cpu_seconds=meter.cpu_seconds, profile=text)


def _register(directory: Directory, ring: AesKeyRing, receiver: str) -> None:
    for number in range(ENDPOINTS):
        name = f"ep_{number}"
        secret = ring.seal(new_signing_secret(), f"default/{name}", 0)
        directory.put_endpoint(
            Endpoint(
                id=name,
                tenant="default",
                mode="live",
                url=f"{receiver}/standard/{name}",
                events=("*",),
                profile="standard",
                secrets=(secret,),
            )
        )


async def _fill(log: KafkaProducer, topics: Topics, count: int) -> None:
    frame = b'{"type":"bench.event","id":"evt_%06d","data":{"x":"%s"}}'
    padding = b"y" * (_BODY_BYTES - len(frame % (0, b"")))
    acks = []
    for number in range(count):
        endpoint, event = f"ep_{number % ENDPOINTS}", f"evt_{number:06d}"
        body = frame % (number, padding)
        delivery = Delivery(
            id=ids.delivery_id("default", event, endpoint),
            endpoint_id=endpoint,
            event_id=event,
            event_type="bench.event",
            tenant="default",
            mode="live",
            created_at="2026-01-01T00:00:00Z",
            body=body,
            accepted_at_ms=SystemClock().now_ms(),
        )
        headers = delivery_record.encode(delivery)
        acks.append(
            await log.append(topics.name(TopicName.DELIVERIES), key=endpoint.encode(), value=body, headers=headers)
        )
    await asyncio.gather(*acks)


async def session(task: Task) -> Run:
    """Nothing but POSTs of the same size through a session whose needless parts are switched off."""
    connector = TCPConnector(limit=0)
    async with ClientSession(
        connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False, raise_for_status=False
    ) as client:
        send_one = through_session(client, f"{task.receiver}/standard/bench")
        gc.collect()
        gc.freeze()
        left = task.count

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await send_one()

        begun, begun_cpu = time.perf_counter(), time.process_time()
        with sampled(task.profile) as samples:
            await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
    text = samples.text(task.count, cpu_seconds) if task.profile else ""
    return Run(count=task.count, seconds=seconds, cpu_seconds=cpu_seconds, profile=text)


async def measure(stage: Stage, rounds: int, *, count: int = 20_000, profile: bool = False) -> dict[str, list[Run]]:
    """Rounds of both, in turns."""
    stage.pin_others(apart=True)
    runs: dict[str, list[Run]] = {"role": [], "session": []}
    for _ in range(rounds):
        for way, done in runs.items():
            prefix, _topics = await stage.topics()
            task = Task(bootstrap=stage.bootstrap, prefix=prefix, receiver=stage.receiver, count=count, profile=profile)
            await stage.tally(reset=True)
            done.append(await stage.measure(__spec__.name, task, way, kind=Run))
            assert (await stage.tally()).requests == count
    return runs


if __name__ == "__main__":
    way, text = sys.argv[1:]
    answer(uvloop.run({"role": role, "session": session}[way](begin(text))))
