"""Fan-out on one core, tables on, beside a bare aiokafka loop with the same reads and writes.

As a child it is given `role` or `raw` and a `Task`, and answers with a `Run`; the unit is a delivery.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.runtime.build.streams import fanout_role
from app.runtime.topics import topics_of
from tests.bench.sampling import sampled
from tests.bench.stage import Run, Stage, Task, answer, begin, settings_of
from tests.bench.stopwatch import Stopwatch, until
from tests.kafka import clients_at
from tests.shared import shared_by

MATCHES = 2
_BODY_BYTES = 1024


async def role(task: Task) -> Run:
    """The fan-out role over events that wait in Kafka; two of `task.endpoints` endpoints match."""
    settings = settings_of(task)
    topics = topics_of(settings)
    meter = Stopwatch("events_ingested_total", "accepted", task.count)
    log = KafkaProducer(clients_at(task.bootstrap), client_id="bench", meter=meter)
    await log.start(topics.all_names())
    feed = KafkaDirectoryFeed(
        clients_at(task.bootstrap), topics.name(TopicName.REGISTRY), client_id="bench", directory=Directory()
    )
    await feed.start()
    _register(feed.directory, task.endpoints)
    await _fill(log, topics, task.count)
    worker = fanout_role(shared_by(settings, clients_at(task.bootstrap), log, feed, meter))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as app/cli/connect/process_context.py does for the product
    running = asyncio.create_task(worker.run())
    while worker.ready() is not None:
        await asyncio.sleep(0.001)
    meter.start()
    with sampled(task.profile) as samples:
        await until(meter.done, running, 60)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await feed.stop()
    await log.close()
    deliveries = task.count * MATCHES
    text = samples.text(deliveries, meter.cpu_seconds) if task.profile else ""
    return Run(count=deliveries, seconds=meter.seconds, cpu_seconds=meter.cpu_seconds, profile=text)


def _register(directory: Directory, endpoints: int) -> None:
    for number in range(max(MATCHES, endpoints)):
        matches = number < MATCHES
        directory.put_endpoint(
            Endpoint(
                id=f"ep_{number}",
                tenant="default" if matches else f"t{number % 1000}",
                mode="live",
                url="https://example.com/",
                events=("*",) if number % 2 else ("bench.*",),
                profile="standard",
            )
        )


def event(number: int, size: int) -> bytes:
    """One event of `size` bytes."""
    frame = b'{"type":"bench.event","id":"evt_%06d","ordering_key":"k%d","data":{"x":"%s"}}'
    return frame % (number, number % 1000, b"y" * (size - len(frame % (number, number % 1000, b""))))


async def _fill(log: KafkaProducer, topics: Topics, count: int) -> None:
    raw = topics.name(TopicName.EVENTS_RAW)
    acks = [
        await log.append(raw, key=b"k%d" % (number % 1000), value=event(number, _BODY_BYTES)) for number in range(count)
    ]
    await asyncio.gather(*acks)


async def raw(task: Task) -> Run:
    """getmany → for each record as many sends as the role makes (deliveries and changelog) → gather → commit."""
    topics = topics_of(settings_of(task))
    log = KafkaProducer(clients_at(task.bootstrap), client_id="bench")
    await log.start(topics.all_names())
    await _fill(log, topics, task.count)
    await log.close()
    source, target = topics.name(TopicName.EVENTS_RAW), topics.name(TopicName.DELIVERIES)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=task.bootstrap,
        group_id=f"{task.prefix}raw",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=task.bootstrap, acks="all", enable_idempotence=True, linger_ms=5, max_batch_size=262_144
    )
    await producer.start()
    await consumer.start()
    places = [TopicPartition(source, number) for number in sorted(await producer.partitions_for(source))]
    consumer.assign(places)
    await consumer.seek_to_beginning(*places)
    headers = [("delivery-id", b"dlv_0123456789"), ("event-id", b"evt_000001"), ("event-type", b"bench.event")]
    changelog = topics.name("hookstream.fanout-idempotency-changelog")
    done = 0
    begun, begun_cpu = time.perf_counter(), time.process_time()
    with sampled(task.profile) as samples:
        while done < task.count:
            acks = []
            for place, records in (await consumer.getmany(timeout_ms=1000, max_records=1000)).items():
                for record in records:
                    for number in range(MATCHES):
                        acks.append(await producer.send(target, record.value, b"ep_%d" % number, headers=headers))
                    acks.append(await producer.send(changelog, b"x" * 29, record.key, partition=place.partition))
                done += len(records)
            await asyncio.gather(*acks)
            await consumer.commit()
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - begun_cpu
    await consumer.stop()
    await producer.stop()
    deliveries = task.count * MATCHES
    text = samples.text(deliveries, cpu_seconds) if task.profile else ""
    return Run(count=deliveries, seconds=seconds, cpu_seconds=cpu_seconds, profile=text)


async def measure(stage: Stage, rounds: int, *, count: int = 30_000, profile: bool = False) -> dict[str, list[Run]]:
    """Rounds of the role, the bare loop, and the role beside 100,000 other endpoints, in turns."""
    stage.pin_others(apart=True)
    runs: dict[str, list[Run]] = {"role": [], "raw": [], "role beside 100,000 endpoints": []}
    for _ in range(rounds):
        for way, done in runs.items():
            prefix, _topics = await stage.topics()
            task = Task(
                bootstrap=stage.bootstrap,
                prefix=prefix,
                receiver=stage.receiver,
                count=count,
                profile=profile,
                data_dir=stage.folder(),
                endpoints=100_000 if "beside" in way else 0,
            )
            done.append(await stage.measure(__spec__.name, task, way.partition(" ")[0], kind=Run))
    return runs


if __name__ == "__main__":
    way, text = sys.argv[1:]
    answer(uvloop.run({"role": role, "raw": raw}[way](begin(text))))
