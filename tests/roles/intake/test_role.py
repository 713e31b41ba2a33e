"""The intake role on fakes: events out of records, commits after the acknowledgements, the same events again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Any

import msgspec
import pytest

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import RecordTooLarge
from app.core.inputs.wire_format import Decode
from app.core.records import rejected
from app.core.topics.names import TopicName
from app.roles.intake.plan import SLICE_BYTES, SLICE_RECORDS, IntakeRules, slices
from app.roles.intake.role import IntakeRole
from tests.core.inputs.records import MAX_EVENT, inputs
from tests.fakes.clock import FakeClock, settle
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.source import MemoryGroup

TOPICS = ("shop.orders", "shop.users", "shop.avro")
INPUTS = """
    - {name: shop, topics: [shop.orders], type: {path: $.type}, ordering_key: {key: true}, optional: [ordering_key]}
    - {name: encoded, topics: [shop.avro], type: a.b, format: confluent}
    - {name: users, topics: [shop.users], type: user.changed, tombstones: skip}
"""


class StandIn:
    """`app.ports.schema_registry.SchemaRegistry` that answers when a test lets it."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked: list[int] = []

    async def decoders(self, ids: Collection[int]) -> dict[int, Decode]:
        self.asked += ids
        await self.answers.wait()
        return {number: lambda payload: b'{"n":' + payload + b"}" for number in ids}

    def trouble(self) -> str | None:
        return None if self.answers.is_set() else "it does not answer"

    async def close(self) -> None:
        """Nothing to close."""


class Stage:
    """Intake with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock, partitions=2)
        self.group = MemoryGroup(self.log, list(TOPICS), self.clock)
        self.meter = PrometheusMeter()
        self.registry = StandIn()
        self.begin()

    def begin(self) -> None:
        self.source = self.group.member()
        self.role = IntakeRole(
            source=self.source,
            producer=self.log,
            inputs=inputs(INPUTS),
            registry=self.registry,
            rules=IntakeRules(
                events=TopicName.EVENTS_RAW,
                rejected=TopicName.EVENTS_REJECTED,
                max_event_bytes=MAX_EVENT,
                max_rejected_bytes=MAX_EVENT + 16_384,
            ),
            clock=self.clock,
            meter=self.meter,
        )
        self.running = asyncio.create_task(self.role.run())

    async def start(self) -> None:
        await settle()
        await self.source.assign(*((topic, number) for topic in TOPICS for number in range(2)))
        await settle()

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        assert not self.source.running

    def put(self, value: Any, topic: str = "shop.orders", key: bytes | None = None) -> MemoryRecord:
        raw = value if isinstance(value, bytes | None) else msgspec.json.encode(value)
        return self.log.put(topic, key=key, value=raw, partition=0)

    def events(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(each.value or b"") for each in self.log.of(TopicName.EVENTS_RAW)]

    async def offset(self, topic: str = "shop.orders") -> int:
        """What is committed once the next commit has taken place."""
        await self.clock.advance(10)
        return self.group.offset((topic, 0)) or 0

    def counted(self, name: str, result: str) -> bool:
        return f'hookstream_input_records_total{{input="{name}",result="{result}"}}' in self.meter.exposition().decode()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.clock.auto = True
    await made.end()


async def test_records_become_events_in_their_order(stage: Stage) -> None:
    assert stage.role.ready() is not None
    await stage.start()
    assert stage.role.ready() is None
    for number in range(3):
        stage.put({"type": f"order.{number}"}, key=b"o-1")
    await settle()
    assert [each["type"] for each in stage.events()] == ["order.0", "order.1", "order.2"]
    assert {each.key for each in stage.log.of(TopicName.EVENTS_RAW)} == {b"o-1"}
    assert await stage.offset() == 3 and stage.counted("shop", "event")


async def test_an_offset_is_committed_when_its_event_is_acknowledged(stage: Stage) -> None:
    await stage.start()
    stage.log.hold(TopicName.EVENTS_RAW)
    stage.put({"type": "a"})
    stage.put(b"no json")
    assert await stage.offset() == 0
    assert stage.role.report().places["shop.orders", 0].low == 0
    stage.log.release(TopicName.EVENTS_RAW)
    assert await stage.offset() == 2


async def test_a_record_that_is_read_again_is_the_same_event(stage: Stage) -> None:
    await stage.start()
    stage.log.hold(TopicName.EVENTS_RAW)
    stage.put({"type": "a"})
    await settle()
    stage.running.cancel()
    await asyncio.gather(stage.running, return_exceptions=True)
    stage.log.release(TopicName.EVENTS_RAW)
    stage.begin()
    await stage.start()
    first, second = stage.log.of(TopicName.EVENTS_RAW)
    assert (first.key, first.value) == (second.key, second.value)
    assert await stage.offset() == 1


async def test_rejected_and_skipped_records_are_finished_too(stage: Stage) -> None:
    await stage.start()
    bad = stage.put(b"no json", key=b"k")
    stage.put(None, "shop.users")
    stage.put({"type": "hookstream.x"})
    await settle()
    assert stage.events() == []
    record, _ = stage.log.of(TopicName.EVENTS_REJECTED)
    assert (record.key, record.value) == (b"k", b"no json")
    notice = rejected.read(record.headers)
    assert (notice.reason, notice.topic, notice.partition, notice.offset) == ("not_json", "shop.orders", 0, bad.offset)
    assert notice.timestamp == bad.timestamp
    assert await stage.offset() == 2 and await stage.offset("shop.users") == 1
    assert stage.counted("shop", "rejected") and stage.counted("users", "skipped")


async def test_a_partition_that_is_lost_is_left_to_its_next_owner(stage: Stage) -> None:
    await stage.start()
    stage.log.crowd(True)
    stage.put({"type": "a"})
    await settle()
    await stage.source.revoke(("shop.orders", 0))
    stage.log.crowd(False)
    await settle()
    assert stage.events() == [] and await stage.offset() == 0
    await stage.source.assign(("shop.orders", 0))
    await settle()
    assert len(stage.events()) == 1


def encoded(number: int) -> bytes:
    return b"\0\0\0\0\7" + b"%d" % number


async def test_an_outage_of_the_registry_delays_the_inputs_that_need_it_and_loses_nothing(stage: Stage) -> None:
    await stage.start()
    for number in range(3):
        stage.put(encoded(number), "shop.avro")
    stage.put({"type": "other"})
    await stage.clock.advance(10)
    assert [each["type"] for each in stage.events()] == ["other"]
    assert stage.role.ready() == "it does not answer"
    waiting = stage.role.report().places["shop.avro", 0]
    assert waiting.waits_until_s is not None and waiting.waits_until_s > stage.clock.monotonic()
    assert await stage.offset("shop.avro") == 0
    stage.put(encoded(3), "shop.avro")
    stage.registry.answers.set()
    await settle()
    assert [each["data"]["n"] for each in stage.events()[1:]] == [0, 1, 2, 3]
    assert stage.role.ready() is None and await stage.offset("shop.avro") == 4
    assert set(stage.registry.asked) == {7}


async def test_records_that_wait_for_a_schema_are_left_to_the_next_owner(stage: Stage) -> None:
    await stage.start()
    stage.put(encoded(0), "shop.avro")
    await settle()
    await stage.source.revoke(("shop.avro", 0))
    stage.registry.answers.set()
    await stage.clock.advance(10)
    assert stage.events() == [] and await stage.offset("shop.avro") == 0
    await stage.source.assign(("shop.avro", 0))
    await settle()
    assert [each["data"]["n"] for each in stage.events()] == [0]


async def test_a_value_that_is_not_in_the_wire_format_needs_no_registry(stage: Stage) -> None:
    await stage.start()
    stage.put(b'{"n": 1}', "shop.avro")
    stage.registry.answers.set()
    await settle()
    (record,) = stage.log.of(TopicName.EVENTS_REJECTED)
    assert rejected.read(record.headers).reason == "not_confluent" and stage.registry.asked == []


async def test_the_role_ends_when_a_record_cannot_be_appended(stage: Stage) -> None:
    await stage.start()
    stage.log.fail(TopicName.EVENTS_RAW, RecordTooLarge("the topic accepts less than declared"))
    stage.put({"type": "a"})
    stage.clock.auto = True
    with pytest.raises(RecordTooLarge):
        await stage.running
    assert not stage.group.offset(("shop.orders", 0))


def test_slices_are_bounded_and_complete() -> None:
    small = [MemoryRecord("t", 0, offset, 0, None, b"{}", []) for offset in range(SLICE_RECORDS * 2 + 1)]
    assert [len(each) for each in slices(small)] == [SLICE_RECORDS, SLICE_RECORDS, 1]
    large = [MemoryRecord("t", 0, offset, 0, None, b"x" * SLICE_BYTES, []) for offset in range(3)]
    assert [[each.offset for each in part] for part in slices(large)] == [[0], [1], [2]]
    assert list(slices([])) == []
