"""On a broker whose topics take less than they are declared to: records lose detail, roles go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.adapters.clock import SystemClock
from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.command_client import CommandClient
from app.adapters.kafka.directory_feed import KafkaDirectoryFeed
from app.adapters.kafka.producer import KafkaProducer
from app.adapters.kafka.registry_store import KafkaRegistryStore
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.http_exchange import HttpReply, HttpTiming
from app.core.model.tenant import Tenant
from app.core.records import delivery
from app.core.records.attempt import Attempt
from app.core.records.command import CreateEndpoint, PutTenant
from app.core.topics.declarations import Topics, TopicSpec
from app.core.topics.drift import CreateTopic
from app.core.topics.names import TopicName
from app.ports.consumer import Record
from app.profiles.catalog import PROFILES
from app.roles.dispatch.attempts import sent
from app.roles.dispatch.verdict import RetryAt
from app.roles.registry.role import RegistryRole
from app.runtime.record_reduction import reduced_for
from tests.conftest import BROKER_USER
from tests.kafka import clients_at
from tests.patience import PATIENCE_S

MAX_BYTES = 20_000
ENDPOINT = Endpoint(id="ep", tenant="acme", mode="live", url="https://x.example/", events=("*",), profile="standard")
DELIVERY = Delivery(
    id="dlv_1",
    endpoint_id="ep",
    event_id="evt_1",
    event_type="a.b",
    tenant="acme",
    mode="live",
    created_at="2026-01-01T00:00:00Z",
    body=b"x" * 50_000,
    source="0:7",
)


@pytest.fixture
async def narrow(request: pytest.FixtureRequest, prefix: str) -> tuple[str, Topics]:
    """A broker, and topics on it that take little."""
    bootstrap: str = request.getfixturevalue("broker").bootstrap
    request.node.user_properties.append(BROKER_USER)
    names = [
        TopicName.ATTEMPTS,
        TopicName.DELIVERIES,
        TopicName.DELIVERIES_DEAD,
        TopicName.REGISTRY_COMMANDS,
        TopicName.REGISTRY,
        TopicName.REGISTRY_REPLIES,
        TopicName.AUDIT,
    ]
    limits = {TopicName.REGISTRY_COMMANDS: 1_000_000}
    topics = Topics(
        TopicSpec(
            logical=name,
            name=prefix + name,
            partitions=1,
            replication=1,
            config={"max.message.bytes": str(limits.get(name, MAX_BYTES))},
        )
        for name in names
    )
    async with KafkaAdmin(clients_at(bootstrap)) as admin:
        await admin.apply([CreateTopic(spec) for spec in topics.specs])
    return bootstrap, topics


async def read(bootstrap: str, topic: str) -> Sequence[Record]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        records: list[Record] = []
        while await consumer.position(place) < end:
            records += (await consumer.getmany(place, timeout_ms=1000)).get(place, [])
        return records
    finally:
        await consumer.stop()


@pytest.fixture
async def log(narrow: tuple[str, Topics]) -> AsyncIterator[tuple[KafkaProducer, PrometheusMeter]]:
    bootstrap, topics = narrow
    meter = PrometheusMeter()
    made = KafkaProducer(clients_at(bootstrap), client_id="test", meter=meter, reduce=partial(reduced_for, topics))
    await made.start(topics.all_names())
    yield made, meter
    await made.close()


async def test_oversized_attempts_and_deliveries_are_written_without_detail(
    narrow: tuple[str, Topics], log: tuple[KafkaProducer, PrometheusMeter]
) -> None:
    bootstrap, topics = narrow
    writer, meter = log
    reply = HttpReply(
        status=500, headers=(("x", "\x01" * 4000),), body=b"\x01" * 2048, truncated=False, timing=HttpTiming()
    )
    attempt = sent(DELIVERY, ENDPOINT, reply, RetryAt(1), started_ms=1, ended_ms=1)
    attempt = msgspec.structs.replace(attempt, response_body="\x01" * 4000)
    done, failed = asyncio.Event(), asyncio.Event()
    bundle = writer.bundle(done.set, lambda error: failed.set())
    bundle.append(topics.name(TopicName.ATTEMPTS), key=b"ep", value=msgspec.json.encode(attempt))
    for name in (TopicName.DELIVERIES, TopicName.DELIVERIES_DEAD):
        bundle.append(topics.name(name), key=b"ep", value=DELIVERY.body, headers=delivery.encode(DELIVERY))
    bundle.append(topics.name(TopicName.DELIVERIES), key=b"ep", value=b"behind it")
    bundle.close()
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()
    assert not failed.is_set()
    (record,) = await read(bootstrap, topics.name(TopicName.ATTEMPTS))
    small = msgspec.json.decode(record.value or b"", type=Attempt)
    assert (small.delivery_id, small.status, small.cut, small.response_body) == ("dlv_1", 500, ("record",), None)
    first, second = await read(bootstrap, topics.name(TopicName.DELIVERIES))
    left, _ = delivery.decode(first.key, first.value, first.headers)
    assert (left.id, left.body, left.omitted, left.source) == ("dlv_1", b"", 50_000, "0:7")
    assert second.value == b"behind it"
    exposed = meter.exposition().decode()
    assert f'records_reduced_total{{topic="{topics.name(TopicName.ATTEMPTS)}"}} 1.0' in exposed


async def test_a_state_that_the_registrys_topic_refuses_is_refused_to_its_caller_and_the_others_go_on(
    narrow: tuple[str, Topics],
) -> None:
    bootstrap, topics = narrow
    commands, replies = topics.name(TopicName.REGISTRY_COMMANDS), topics.name(TopicName.REGISTRY_REPLIES)
    stores: list[KafkaRegistryStore] = []

    def store() -> KafkaRegistryStore:
        stores.append(
            KafkaRegistryStore(
                clients_at(bootstrap),
                group=f"{commands}.group",
                commands=commands,
                feed=feed,
                registry=topics.name(TopicName.REGISTRY),
                replies=replies,
                audit=topics.name(TopicName.AUDIT),
                client_id="test",
            )
        )
        return stores[-1]

    feed = KafkaDirectoryFeed(
        clients_at(bootstrap), topics.name(TopicName.REGISTRY), client_id="test", directory=Directory()
    )
    await feed.start()
    role = RegistryRole(store=store, clock=SystemClock(), meter=PrometheusMeter(), profiles=PROFILES)
    running = asyncio.create_task(role.run())
    client = CommandClient(
        clients_at(bootstrap),
        commands=commands,
        replies=replies,
        client_id="test",
        clock=SystemClock(),
    )
    await client.start()
    big = msgspec.structs.replace(ENDPOINT, metadata={f"k{n}": "v" * 500 for n in range(48)})
    try:
        answers = await asyncio.gather(
            client.call(PutTenant(Tenant(id="acme")), entity="tenant", timeout_s=PATIENCE_S),
            client.call(CreateEndpoint(big), entity="ep", timeout_s=PATIENCE_S),
            client.call(PutTenant(Tenant(id="other")), entity="tenant", timeout_s=PATIENCE_S),
            return_exceptions=True,
        )
        assert [type(answer).__name__ for answer in answers] == ["CommandReply", "CommandRefused", "CommandReply"]
        assert isinstance(answers[1], CommandRefused) and answers[1].code == "invalid"
        with pytest.raises(CommandRefused, match="larger than Kafka takes"):
            await client.call(PutTenant(Tenant(id="acme", name="x" * 1_100_000)), entity="tenant", timeout_s=PATIENCE_S)
        assert not running.done() and len(stores) == 1, "the role was never built anew"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.stop()
        await feed.stop()
