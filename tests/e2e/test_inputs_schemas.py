"""Records that Confluent's serializers write become deliveries, also after an outage of the schema registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import struct_pb2

from tests.conftest import RealBroker
from tests.e2e.harness import inbox, pause, producer, service
from tests.e2e.test_inputs import create_topics, declared
from tests.patience import LOOKS
from tests.ports import free_port
from tests.schema_registry import schema_registry

LOGIN = ("user", "secret of the registry")
AVRO = {
    "type": "record",
    "name": "Paid",
    "namespace": "shop",
    "fields": [
        {"name": "order", "type": "string"},
        {"name": "total", "type": ["null", "long"]},
        {"name": "tenant", "type": "string"},
    ],
}
KEY = {"type": "record", "name": "Key", "fields": [{"name": "id", "type": "long"}]}
JSON_SCHEMA = {"title": "Paid", "type": "object", "properties": {"order": {"type": "string"}}}


def client(url: str) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": url, "basic.auth.user.info": ":".join(LOGIN)})


async def encoded(make: Callable[[], Any], value: Any, topic: str, field: str = MessageField.VALUE) -> bytes:
    """The bytes of a serializer, which registers its schema first; it blocks, so it has a thread."""

    def serialize() -> bytes:
        data: bytes = make()(value, SerializationContext(topic, field))
        return data

    return await asyncio.to_thread(serialize)


async def append_all(client_: AIOKafkaProducer, url: str, prefix: str) -> None:
    """One record of each format."""
    with client(url) as registry:
        await append_with(client_, registry, prefix)


async def append_with(client_: AIOKafkaProducer, registry: SchemaRegistryClient, prefix: str) -> None:
    avro, proto, plain = (f"{prefix}{name}" for name in ("avro", "proto", "plain"))
    paid = {"order": "o-1", "total": 5, "tenant": "acme"}
    value = await encoded(lambda: AvroSerializer(registry, json.dumps(AVRO)), paid, avro)
    key = await encoded(lambda: AvroSerializer(registry, json.dumps(KEY)), {"id": 7}, avro, MessageField.KEY)
    await client_.send_and_wait(avro, value, key=key)
    message = struct_pb2.Struct()
    message.update({"order": "o-2"})
    options = {"use.deprecated.format": False}
    value = await encoded(lambda: ProtobufSerializer(struct_pb2.Struct, registry, options), message, proto)
    await client_.send_and_wait(proto, value)
    value = await encoded(lambda: JSONSerializer(json.dumps(JSON_SCHEMA), registry), {"order": "o-3"}, plain)
    await client_.send_and_wait(plain, value)


async def test_every_format_survives_an_outage_of_the_registry(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    topics = [f"{prefix}{name}" for name in ("avro", "proto", "plain", "other")]
    await create_topics(broker.bootstrap, *topics)
    encoded_input = {"type": "order.paid", "tenant": "acme", "format": "confluent"}
    avro = {"tenant": {"path": "$.tenant"}, "key_format": "confluent", "ordering_key": {"key": "$.id"}}
    settings = declared(
        tmp_path,
        {"name": "avro", "topics": [topics[0]], **encoded_input, **avro},
        {"name": "others", "topics": topics[1:3], **encoded_input},
        {"name": "json", "topics": [topics[3]], "type": "order.paid", "tenant": "acme"},
    )
    port = free_port()
    settings |= {
        "HOOKSTREAM_SCHEMA_REGISTRY_URL": f"http://localhost:{port}",
        "HOOKSTREAM_SCHEMA_REGISTRY_USERNAME": LOGIN[0],
        "HOOKSTREAM_SCHEMA_REGISTRY_PASSWORD": LOGIN[1],
    }
    async with (
        schema_registry(port=port, login=LOGIN) as registry,
        producer(broker.bootstrap) as client_,
        service(broker.bootstrap, prefix, tmp_path, settings) as running,
        inbox() as (box, base),
    ):
        await running.add(f"{base}/standard", tenant="acme", events="order.*")
        await append_all(client_, registry.url, prefix)
        registry.status = 503
        await client_.send_and_wait(topics[1], b"\0\0\0\x03\xe7\0", partition=0)  # an id that it does not have
        await client_.send_and_wait(topics[3], b'{"order": "o-4"}')
        await box.until(lambda: any(b"o-4" in each.body for each in box.received))
        await _until_waiting(running)
        registry.status = 200
        await running.until_ready()
        await box.until(lambda: len({each.event_id for each in box.received}) == 4)
        data = [json.loads(each.body)["data"] for each in box.received]
        assert sorted(each["order"] for each in data) == ["o-1", "o-2", "o-3", "o-4"]
        assert {"order": "o-1", "total": 5, "tenant": "acme"} in data
        (ordered,) = [each for each in box.received if b"o-1" in each.body]
        assert "7" in ordered.headers.values(), "the ordering key is in the encoded key"
        for _ in range(LOOKS):
            rows = await running.cli("events", "rejected", "-o", "json")
            if rows:
                break
            await pause(0.1)
        assert [row["reason"] for row in rows] == ["unknown_schema"]
        tried = await running.cli("inputs", "test", "avro", "-o", "json")
        assert (tried["result"], tried["ordering_key"], tried["data"]["order"]) == ("event", "7", "o-1")


async def _until_waiting(running: Any) -> None:
    for _ in range(LOOKS):
        _, roles = await running.readiness()
        if "schema registry" in (roles["intake"] or ""):
            return
        await pause(0.1)
    raise AssertionError(f"intake says {roles['intake']}")
