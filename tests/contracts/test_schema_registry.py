"""The client of schema registries: schemas by their ids, outages that delay, and answers that it refuses."""

from __future__ import annotations

import asyncio
import json
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import trustme
from google.protobuf import descriptor_pb2, timestamp_pb2

from app.adapters.clock import SystemClock
from app.adapters.dependencies import Dependencies
from app.adapters.http import schema_registry as client
from app.adapters.http.schema_registry import HttpSchemaRegistry
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import MalformedEvent, Unavailable
from tests.ports import free_port
from tests.schema_registry import SchemaRegistryServer, schema_registry

LONG = '"long"'


def connected(server: SchemaRegistryServer, **options: Any) -> HttpSchemaRegistry:
    return HttpSchemaRegistry(server.url, SystemClock(), **options)


async def test_schemas_are_asked_for_once() -> None:
    async with schema_registry() as server:
        number = server.register("a", LONG)
        registry = connected(server)
        for _ in range(3):
            decoders = await registry.decoders({number})
            assert decoders[number](b"\x54") == b"42"
        await asyncio.gather(*(registry.decoders([number]) for _ in range(10)))
        assert server.asked == [f"/schemas/ids/{number}"]
        await registry.close()


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_SCHEMAS", 2)
    async with schema_registry() as server:
        numbers = [server.register("a", json.dumps({"type": "fixed", "name": f"F{n}", "size": n})) for n in range(4)]
        registry = connected(server)
        decoders = await registry.decoders(numbers)
        assert [decoders[each](b"x" * size) for size, each in enumerate(numbers)][3] == b'"eHh4"'
        assert len(registry._loaded) == 2
        await registry.decoders(numbers)
        assert len(server.asked) >= 6
        await registry.close()


async def test_an_outage_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PAUSES_S", (0.05,))
    clock, port = SystemClock(), free_port()
    status = Dependencies(clock, PrometheusMeter()).of("schema_registry")
    registry = HttpSchemaRegistry(f"http://localhost:{port}", clock, status)
    waiting = asyncio.create_task(registry.decoders([1]))
    while status.trouble is None:
        await asyncio.sleep(0.01)
    assert registry.trouble() and "does not answer" in status.trouble
    async with schema_registry(port=port) as server:
        server.register("a", LONG)
        for refusal in (503, 401, 301, 429):
            server.status = refusal
            while f"answers {refusal}" not in (status.trouble or ""):
                await asyncio.sleep(0.01)
        assert not waiting.done()
        server.status = 200
        assert (await waiting)[1](b"\x02") == b"1"
    assert status.trouble is None and registry.trouble() is None
    await registry.close()


async def test_login_and_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with schema_registry(tls=context, login=("user", "pässword")) as server:
        number = server.register("a", LONG)
        good = connected(server, username="user", password="pässword", ca_file=tmp_path / "ca.pem")
        assert (await good.decoders([number]))[number](b"\x02") == b"1"
        await good.probe()
        await good.close()
        for options in ({"ca_file": tmp_path / "ca.pem"}, {"username": "user", "password": "pässword"}):
            bad = connected(server, **options)
            with pytest.raises(Unavailable):
                await bad.probe()
            await bad.close()


async def test_schemas_that_cannot_be_used_refuse_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PAUSES_S", (0.01,))
    async with schema_registry() as server:
        large = server.register("a", json.dumps({"type": "fixed", "name": "x" * client.MAX_SCHEMA_BYTES, "size": 1}))
        broken = server.register("a", "no avro")
        kind = server.register("a", "{}", "THRIFT")
        missing = server.register("a", '"b.B"', references=[{"name": "b.B", "subject": "b", "version": 9}])
        registry = connected(server)
        decoders = await registry.decoders([large, broken, kind, missing, 999])
        reasons = {}
        for number, decode in decoders.items():
            with pytest.raises(MalformedEvent) as caught:
                decode(b"")
            reasons[number] = caught.value.reason
        assert reasons == {
            large: "bad_schema",
            broken: "bad_schema",
            kind: "bad_schema",
            missing: "unknown_schema",
            999: "unknown_schema",
        }
        asked = len(server.asked)
        await registry.decoders([999, broken])
        assert len(server.asked) == asked, "they are remembered, too"
        await registry.close()


async def test_references_are_loaded_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(name: str, inner: str) -> str:
        return json.dumps({"type": "record", "name": name, "fields": [{"name": "v", "type": inner}]})

    async with schema_registry() as server:
        server.register("c", named("x.C", "long"))
        server.register("b", named("x.B", "x.C"), references=[{"name": "x.C", "subject": "c", "version": 1}])
        number = server.register("a", named("x.A", "x.B"), references=[{"name": "x.B", "subject": "b", "version": 1}])
        loop = server.register("d", named("x.D", "x.A"), references=[{"name": "x.D", "subject": "d", "version": 1}])
        many = [{"name": f"n{each}", "subject": "c", "version": 1} for each in range(client.MAX_REFERENCES + 1)]
        flood = server.register("e", named("x.E", "long"), references=many)
        registry = connected(server)
        decoders = await registry.decoders([number, loop, flood])
        assert decoders[number](b"\x02") == b'{"v":{"v":{"v":1}}}'
        for each in (loop, flood):
            with pytest.raises(MalformedEvent, match="cannot be used"):
                decoders[each](b"\x02")
        await registry.close()


def descriptor() -> descriptor_pb2.FileDescriptorProto:
    """`message Outer { message Inner { string name = 1; Timestamp at = 2; int64 big = 3; } }`, and `message Other`."""
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    outer = file.message_type.add(name="Outer")
    inner = outer.nested_type.add(name="Inner")
    field = descriptor_pb2.FieldDescriptorProto
    inner.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    inner.field.add(
        name="created_at",
        number=2,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_OPTIONAL,
        type_name=".google.protobuf.Timestamp",
    )
    inner.field.add(name="big", number=3, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    other = file.message_type.add(name="Other")
    other.field.add(name="next", number=1, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".shop.Other")
    return file


async def test_protobuf_by_its_indexes() -> None:
    async with schema_registry() as server:
        number = server.register("a", b64encode(descriptor().SerializeToString()).decode(), "PROTOBUF")
        registry = connected(server)
        decode = (await registry.decoders([number]))[number]
        at = timestamp_pb2.Timestamp(seconds=1_769_846_400).SerializeToString()
        message = b"\x0a\x01x\x12" + bytes([len(at)]) + at + b"\x18\x01"
        assert json.loads(decode(b"\x04\x00\x00" + message)) == {
            "name": "x",
            "created_at": "2026-01-31T08:00:00Z",
            "big": "1",
        }
        assert json.loads(decode(b"\x02\x02" + b"\x0a\x00")) == {"next": [{}]}
        assert json.loads(decode(b"\x00")) == {}
        hostile = [b"", b"\x01", b"\x7e", b"\x02\x06", b"\x02\x02\xff", b"\x02" + b"\xff" * 6, b"\x02\x02\x0a\x7f"]
        nested = b""
        for _ in range(150):
            nested = b"\x0a" + _varint(len(nested)) + nested
        for value in (*hostile, b"\x02\x02" + nested):
            with pytest.raises(MalformedEvent) as caught:
                decode(value)
            assert caught.value.reason == "not_protobuf"
        await registry.close()


def _varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


@pytest.mark.parametrize("schema", ["!", "AAAA", b64encode(b"\xff" * 100).decode()])
async def test_protobuf_schemas_that_cannot_be_used(schema: str) -> None:
    async with schema_registry() as server:
        number = server.register("a", schema, "PROTOBUF")
        registry = connected(server)
        decode = (await registry.decoders([number]))[number]
        with pytest.raises(MalformedEvent) as caught:
            decode(b"\x00")
        assert caught.value.reason in ("bad_schema", "not_protobuf")
        await registry.close()


async def test_long_names_and_unknown_imports_are_refused() -> None:
    long, unknown = descriptor(), descriptor()
    long.message_type[0].nested_type[0].field[0].name = "n" * 201
    unknown.dependency[0] = "other.proto"
    async with schema_registry() as server:
        registry = connected(server)
        for file in (long, unknown):
            number = server.register("a", b64encode(file.SerializeToString()).decode(), "PROTOBUF")
            with pytest.raises(MalformedEvent) as caught:
                (await registry.decoders([number]))[number](b"\x00")
            assert caught.value.reason == "bad_schema"
        await registry.close()
