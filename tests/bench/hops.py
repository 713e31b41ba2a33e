"""The bare loops beside the service at everyday rates: Kafka → Kafka → HTTP, on the same topics.

`intake`: POST → a record in events.raw → 202. `forward`: events.raw → one record in deliveries and one in a changelog.
`post`: deliveries → POST → a record in attempts. `forward` and `post` commit twice a second. As a child it is given one
of these words and a `Task`; it prints a line when it is ready (`intake`: its port), and at each line of its standard
input its CPU seconds.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.runtime.topics import topics_of
from tests.bench.sender import through_session
from tests.bench.stage import Task, begin, settings_of

_COMMIT_S = 0.5


def _ready(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def _reader(task: Task, topic: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=task.bootstrap,
        group_id=f"{task.prefix}{topic}.bare",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    while not consumer.assignment():
        await asyncio.sleep(0.05)
    return consumer


async def _committing(consumer: AIOKafkaConsumer, reached: dict[TopicPartition, int]) -> None:
    while True:
        await asyncio.sleep(_COMMIT_S)
        if reached:
            offsets = dict(reached)
            reached.clear()
            await consumer.commit(offsets)


async def intake(task: Task, topics: Topics) -> None:
    """Append each body to events.raw, and answer when it is acknowledged."""
    raw = topics.name(TopicName.EVENTS_RAW)
    async with AIOKafkaProducer(bootstrap_servers=task.bootstrap, acks="all", enable_idempotence=True) as producer:

        async def take(request: web.Request) -> web.Response:
            body = await request.read()
            await producer.send_and_wait(raw, body, key=b"k%d" % (hash(body) % 200))
            return web.Response(status=202)

        application = web.Application()
        application.router.add_post("/v1/events", take)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _ready(runner.addresses[0][1])
        await asyncio.Event().wait()


async def forward(task: Task, topics: Topics) -> None:
    """Copy each event into deliveries."""
    consumer = await _reader(task, topics.name(TopicName.EVENTS_RAW))
    target = topics.name(TopicName.DELIVERIES)
    changelog = topics.name("hookstream.fanout-idempotency-changelog")
    headers = [("delivery-id", b"dlv_0123456789"), ("event-id", b"evt_000001"), ("event-type", b"bench.event")]
    reached: dict[TopicPartition, int] = {}
    async with AIOKafkaProducer(bootstrap_servers=task.bootstrap, acks="all", enable_idempotence=True) as producer:
        committing = asyncio.create_task(_committing(consumer, reached))
        _ready("reads")
        while not committing.done():
            for place, records in (await consumer.getmany(timeout_ms=500)).items():
                acks = []
                for record in records:
                    acks.append(await producer.send(target, record.value, b"ep_0", headers=headers))
                    acks.append(await producer.send(changelog, b"x" * 29, record.key, partition=place.partition))
                await asyncio.gather(*acks)
                reached[place] = records[-1].offset + 1


async def post(task: Task, topics: Topics) -> None:
    """Post each delivery."""
    consumer = await _reader(task, topics.name(TopicName.DELIVERIES))
    attempts = topics.name(TopicName.ATTEMPTS)
    reached: dict[TopicPartition, int] = {}
    connector = TCPConnector(limit=0)
    async with (
        AIOKafkaProducer(bootstrap_servers=task.bootstrap, acks="all", enable_idempotence=True) as producer,
        ClientSession(connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False) as session,
    ):

        async def deliver(body: bytes) -> None:
            await through_session(session, f"{task.receiver}/standard/bench", body)()
            await producer.send_and_wait(attempts, b"x" * 400, b"ep_0")

        committing = asyncio.create_task(_committing(consumer, reached))
        _ready("reads")
        while not committing.done():
            batches = await consumer.getmany(timeout_ms=500)
            await asyncio.gather(*(deliver(record.value) for records in batches.values() for record in records))
            reached.update({place: records[-1].offset + 1 for place, records in batches.items()})


async def _answering(work: asyncio.Task[None]) -> None:
    while not work.done():
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            break
        _ready(str(time.process_time()))
    work.cancel()


async def run(way: str, text: str) -> None:
    task = begin(text)
    ways = {"intake": intake, "forward": forward, "post": post}
    work = asyncio.create_task(ways[way](task, topics_of(settings_of(task))))
    await asyncio.gather(_answering(work), asyncio.wait([work]))


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:]))
