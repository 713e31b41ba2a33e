"""Records of other systems' topics become deliveries: as Debezium writes them, across crashes and resets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cloudevents.core.bindings.kafka import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tests.conftest import RealBroker
from tests.core.inputs.debezium.records import RecordedRecord, recorded
from tests.e2e.harness import Service, inbox, pause, producer, read, service
from tests.patience import LOOKS


async def create_topics(bootstrap: str, *names: str, partitions: int = 2) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
    finally:
        await admin.close()


def declared(folder: Path, *inputs: dict[str, Any]) -> dict[str, str]:
    """The setting for a file with these inputs."""
    path = folder / "inputs.yaml"
    path.write_text(yaml.safe_dump({"inputs": list(inputs)}))
    return {"HOOKSTREAM_INPUTS": str(path)}


async def append(bootstrap: str, topic: str, records: Sequence[RecordedRecord]) -> None:
    """Append records with their own times, to one partition."""
    async with producer(bootstrap) as client:
        for each in records:
            await client.send_and_wait(
                topic, each.value, key=each.key, headers=each.headers, timestamp_ms=each.timestamp, partition=0
            )


async def until(running: Service, *words: str, expect: str) -> None:
    """Wait until a command's JSON contains a text."""
    out: Any = None
    for _ in range(LOOKS):
        out = json.dumps(await running.cli(*words, "-o", "json"))
        if expect in out:
            return
        await pause(0.1)
    raise AssertionError(f"{words} says {out}")


@asynccontextmanager
async def running_with(
    broker: RealBroker, prefix: str, folder: Path, *inputs: dict[str, Any]
) -> AsyncIterator[Service]:
    async with service(broker.bootstrap, prefix, folder, declared(folder, *inputs)) as running:
        yield running


async def test_an_outbox_becomes_deliveries_whatever_converter_wrote_it(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    topics = {converter: f"{prefix}outbox-{converter}.event.order" for converter in ("json", "json-schemas", "string")}
    await create_topics(broker.bootstrap, *topics.values())
    outbox: dict[str, Any] = {"name": "outbox", "pattern": rf"{prefix}outbox-[a-z-]+\.event\..*".replace(".", r"\.", 1)}
    outbox |= {"preset": "debezium-outbox", "tenant": {"header": "tenant"}}
    async with running_with(broker, prefix, tmp_path, outbox) as running, inbox() as (box, base):
        await running.add(f"{base}/standard", tenant="acme", events="order.*", ordering="fifo")
        records = {name: recorded(f"outbox-{name}") for name in topics}
        for name, topic in topics.items():
            await append(broker.bootstrap, topic, [each for each in records[name] if each.topic.endswith(".order")])
        first, second = "7c9e6679-7425-40de-944b-e07fc1f90ae7", "16fd2706-8baf-433b-82eb-8c7fada847da"
        await box.until(lambda: second in box.ids())
        assert box.ids() == [first, second], "the same events of the other converters are duplicates"
        bodies = [json.loads(each.body) for each in box.received]
        assert bodies[0]["type"] == "order.created"
        assert bodies[0]["data"] == {"total": 99.5, "lines": [{"sku": "ä"}]}
        await until(running, "inputs", "plan", expect='"state": "read"')
        await until(running, "groups", "show", "intake", expect='"lag": 0')


async def test_changes_of_a_table(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    topic = f"{prefix}shop.public.orders"
    await create_topics(broker.bootstrap, topic)
    cdc = {"name": "changes", "topics": [topic], "preset": "debezium-cdc", "tenant": "acme"}
    async with running_with(broker, prefix, tmp_path, cdc) as running, inbox() as (box, base):
        await running.add(f"{base}/standard", tenant="acme", events="orders.*", ordering="fifo")
        await append(broker.bootstrap, topic, recorded("cdc-json-schemas"))
        await box.until(lambda: len(box.received) == 3)
        bodies = [json.loads(each.body) for each in box.received]
        assert [each["type"] for each in bodies] == ["orders.created", "orders.updated", "orders.deleted"]
        assert [(each["data"]["before"] or {}).get("id") for each in bodies] == [None, 2, 2]
        assert [(each["data"]["after"] or {}).get("id") for each in bodies] == [2, 2, None]
        metrics = await running.metrics()
        assert 'hookstream_input_records_total{input="changes",result="skipped"} 3.0' in metrics, "r, tombstone, t"


async def test_cloudevents_of_their_library(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    topic = f"{prefix}platform"
    await create_topics(broker.bootstrap, topic)
    platform = {"name": "platform", "topics": [topic], "preset": "cloudevents", "tenant": {"header": "ce_tenant"}}
    platform |= {"optional": ["tenant"]}
    async with running_with(broker, prefix, tmp_path, platform) as running, inbox() as (box, base):
        await running.add(f"{base}/standard", tenant="acme", events="shop.*")
        attributes = {"source": "/shop", "type": "shop.opened", "tenant": "acme", "datacontenttype": "application/json"}
        event = [CloudEvent({**attributes, "id": name, "specversion": "1.0"}, {"n": 1}) for name in ("bin", "struct")]
        messages = [to_binary_event(event[0]), to_structured_event(event[1])]
        async with producer(broker.bootstrap) as client:
            for each in messages:
                await client.send_and_wait(topic, each.value, headers=list(each.headers.items()), partition=0)
        await box.until(lambda: {"bin", "struct"} <= set(box.ids()))
        assert all(json.loads(each.body)["data"] == {"n": 1} for each in box.received)


async def test_nothing_is_lost_and_nothing_repeated_across_crashes_and_resets(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    topic = f"{prefix}numbers"
    await create_topics(broker.bootstrap, topic)
    numbers = {"name": "numbers", "topics": [topic], "type": "number.drawn", "tenant": "acme"}
    async with running_with(broker, prefix, tmp_path, numbers) as running, inbox() as (box, base):
        await running.add(f"{base}/standard", tenant="acme", events="number.*")
        async with producer(broker.bootstrap) as client:
            for number in range(300):
                await client.send(topic, json.dumps({"n": number}).encode(), partition=number % 2)
            await client.flush()
            running.kill()
            await running.ended()
            for number in range(300, 400):
                await client.send(topic, json.dumps({"n": number}).encode(), partition=number % 2)
            await client.flush()
        await running.start()
        await box.until(lambda: {json.loads(each.body)["data"]["n"] for each in box.received} == {*range(400)})
        assert await running.stop() == 0
        reset = await running.cli("groups", "reset", "intake", "--to-datetime", "begin", "-o", "json")
        assert reset["again"] == 400
        events = f"{prefix}events.raw"
        before = len(await read(broker.bootstrap, events, lambda records: len(records) >= 400))
        await running.start()
        again = await read(broker.bootstrap, events, lambda records: len(records) >= before + 400)
        ids = [json.loads(record.value)["id"] for record in again]
        assert len(set(ids)) == 400, "records that are read again are the same events"
        async with producer(broker.bootstrap) as client:
            await client.send_and_wait(topic, b'{"n": 400}', partition=0)
        await box.until(lambda: any(json.loads(each.body)["data"]["n"] == 400 for each in box.received))
        by_id = {each.event_id for each in box.received}
        assert len(by_id) == 401


async def test_hostile_records_have_a_reason_and_hold_nothing_up(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    topic = f"{prefix}wild"
    await create_topics(broker.bootstrap, topic)
    wild = {"name": "wild", "topics": [topic], "type": {"path": "$.type"}, "tenant": {"path": "$.tenant"}}
    hostile: list[tuple[bytes | None, str]] = [
        (None, "empty"),
        (b"no json", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 300_000, "not_json"),
        (b'{"type":' * 100_000 + b"1" + b"}" * 100_000, "not_json"),
        (b'{"type":"a","tenant":"acme","data":"' + b"x" * 900_000 + b'"}', "too_large"),
        (b'{"tenant":"acme"}', "no_type"),
        (b'{"type":"a"}', "no_tenant"),
        (b'{"type":"a b","tenant":"acme"}', "bad_type"),
        (b'{"type":{"a":1},"tenant":"acme"}', "bad_type"),
        (b'{"type":"a","tenant":"ac me"}', "bad_tenant"),
        (b'{"type":"hookstream.x","tenant":"acme"}', "bad_type"),
    ]
    async with running_with(broker, prefix, tmp_path, wild) as running, inbox() as (box, base):
        await running.add(f"{base}/standard", tenant="acme", events="*")
        async with producer(broker.bootstrap) as client:
            for value, _ in hostile:
                await client.send_and_wait(topic, value, key=b"k", partition=0)
            await client.send_and_wait(topic, b'{"type":"good","tenant":"acme"}', partition=0)
        await box.until(lambda: len(box.received) == 1)
        assert json.loads(box.received[0].body)["type"] == "good"
        rejected = await read(broker.bootstrap, f"{prefix}events.rejected", lambda all_: len(all_) >= len(hostile))
        named = [{name: text.decode() for name, text in record.headers} for record in rejected]
        reasons = {int(each["rejected-offset"]): each["rejected-reason"] for each in named}
        assert reasons == {offset: reason for offset, (_, reason) in enumerate(hostile)}
        assert {each["rejected-topic"] for each in named} == {topic}
        rows = await running.cli("events", "rejected", "-o", "json")
        assert {(row["topic"], row["tenant"]) for row in rows} == {(topic, None)}
        key = await running.key("acme")
        listed = await running.ask("GET", "/v1/events", key=key)
        assert [each["type"] for each in listed.body["data"]] == ["good"], "an input's record is none of events.raw"


async def test_commands_on_inputs(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    topic, absent = f"{prefix}shop", f"{prefix}absent"
    await create_topics(broker.bootstrap, topic)
    shop = {
        "name": "shop",
        "topics": [topic],
        "type": {"path": "$.type"},
        "tenant": "acme",
        "ordering_key": {"key": True},
    }
    cli = Service(
        broker.bootstrap, prefix, tmp_path, declared(tmp_path, shop, shop | {"name": "b", "topics": [absent]})
    )
    await cli.cli("topics", "apply")
    await cli.cli("inputs", "plan", expect=2)
    assert f"{absent} does not exist" in await cli.cli("inputs", "apply", expect=2)
    assert "the topics of b do not exist" in str(await cli.cli("inputs", "test", "b", expect=2))
    cli.environ |= declared(tmp_path, shop)
    (row,) = (await cli.cli("inputs", "apply", "-o", "json"))["topics"]
    assert row == {"input": "shop", "topic": topic, "state": "new", "partitions": 2, "behind": 0}
    assert "have no records" in str(await cli.cli("inputs", "test", "shop", expect=2))
    async with producer(broker.bootstrap) as client:
        await client.send_and_wait(topic, b'{"type":"old"}', key=b"k", partition=1)
        await client.send_and_wait(topic, b'{"type":"order.created","n":1.0}', key=b"o-1", partition=0)
    tried = await cli.cli("inputs", "test", "shop", "-o", "json")
    assert (tried["result"], tried["type"], tried["ordering_key"]) == ("event", "order.created", "o-1")
    (tmp_path / "record.json").write_text("{}")
    await cli.cli("inputs", "test", "shop", "--value", str(tmp_path / "record.json"), "--key", "k", expect=1)
    exported = await cli.cli("topics", "export", "--format", "acls")
    assert f"--operation Read --operation Describe --topic {topic}" in exported
    refused = await Service(broker.bootstrap, prefix, tmp_path).cli("run", "intake", expect=2)
    assert "nothing to do: set HOOKSTREAM_INPUTS" in str(refused)
