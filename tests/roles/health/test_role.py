"""The health role on fakes: commands and notices for what signals say, and the same ones after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import Unavailable
from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.records import notice
from app.core.records.command import Command, MarkCircuit, MarkFailing, SuspendEndpoint
from app.core.records.registry import read_command
from app.core.records.signal import HealthSignal
from app.core.topics.names import TopicName
from app.roles.health.role import TABLE, HealthRole
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock, settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.stream import MemoryPartition, MemoryStreamApp

TOPICS = topics_of(Settings(topic_prefix="", partitions=4, replication_factor=1))
START = 1_700_000_000_000


class MemoryEnds:
    """`app.ports.history.OffsetQueries`."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None

    async def ends(self, topic: str) -> Mapping[int, int]:
        assert topic == TopicName.DELIVERIES_DEAD
        return {2: 17}

    async def fanned_out(self) -> Mapping[int, int]:
        self.asked += 1
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return {0: 3, 1: 4}


class Stage:
    """A health worker with everything around it in memory."""

    def __init__(self) -> None:
        self.log = MemoryLog(FakeClock())
        self.feed = MemoryFeed()
        self.endpoint()
        self.ends = MemoryEnds()
        self.partition = MemoryPartition(2)
        self.records: list[MemoryRecord] = []
        self.start()

    def endpoint(self, **fields: Any) -> None:
        known: dict[str, Any] = {"id": "ep", "tenant": "acme", "mode": "live", "url": "https://x.example/"}
        self.feed.directory.put_endpoint(Endpoint(**(known | {"events": ("*",), "profile": "voxscriber"} | fields)))

    def start(self) -> None:
        self.app = MemoryStreamApp()

        @asynccontextmanager
        async def ends() -> AsyncIterator[MemoryEnds]:
            yield self.ends

        role = HealthRole(
            app=lambda: self.app, producer=self.log, feed=self.feed, ends=ends, meter=PrometheusMeter(), topics=TOPICS
        )
        self.running = asyncio.create_task(role.run())

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def signal(self, outcome: Any = "failed", value: bytes | None = None, **fields: Any) -> MemoryRecord:
        signal = HealthSignal(outcome=outcome, epoch=fields.pop("epoch", 1), delivery_id="dlv", **fields)
        body = msgspec.json.encode(signal) if value is None else value
        number = len(self.records)
        record = MemoryRecord(TopicName.ENDPOINTS_SIGNALS, 2, number, START + number, b"ep", body, [])
        self.records.append(record)
        return record

    async def give(self, *records: MemoryRecord) -> None:
        await self.app.acked(self.app.give(self.partition, *records))

    def commands(self) -> list[Command]:
        return [read_command(each.value) for each in self.log.of(TopicName.REGISTRY_COMMANDS)]

    def kinds(self) -> list[str]:
        return [each.kind for each in self.notices()]

    def notices(self) -> list[notice.Notice]:
        records = self.log.of(TopicName.NOTICES)
        assert all(each.key == b"acme" for each in records)
        return [notice.read(each.value) for each in records]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    await made.stop()


async def test_five_failures_disable_with_the_places_for_a_recovery_and_warn_on_the_way(stage: Stage) -> None:
    await stage.give(*(stage.signal(error="the endpoint answered 500") for _ in range(4)))
    assert stage.ends.asked == 0, "nothing is asked before there is something to disable"
    await stage.give(stage.signal(error="the endpoint answered 500"))
    mark, disable = stage.commands()
    assert mark.action == MarkFailing("ep", 1, START, None)
    assert isinstance(disable.action, SuspendEndpoint)
    assert (disable.action.begin, disable.action.dead_begin, disable.action.epoch) == ({0: 3, 1: 4}, 17, 1)
    assert "5 times in a row" in (disable.action.reason or "")
    assert stage.kinds() == ["endpoint.failing", "endpoint.failing", "endpoint.disabled"]


async def test_a_circuit_is_shown_through_the_registry_and_leaves_no_audit_entry(stage: Stage) -> None:
    mark = OpenCircuit(since_ms=START - 30_000, probe_at_ms=START + 15_000)
    await stage.give(stage.signal("circuit", circuit=mark), stage.signal("circuit"))
    opened, closed = stage.commands()
    assert (opened.action, closed.action) == (MarkCircuit("ep", 1, mark), MarkCircuit("ep", 1))
    assert opened.actor == closed.actor == ""
    assert stage.notices() == []


async def test_signals_wait_until_the_directory_knows_what_dispatch_knew(stage: Stage) -> None:
    stage.feed.blocked = True
    stage.feed.directory.remove_endpoint("ep")
    batch = stage.app.give(stage.partition, *(stage.signal() for _ in range(5)))
    await stage.feed.waited_for()
    stage.endpoint()
    stage.feed.open()
    await stage.app.acked(batch)
    assert stage.kinds()[-1] == "endpoint.disabled"


async def test_a_crash_before_the_acknowledgement_repeats_the_same_commands_and_notices(stage: Stage) -> None:
    stage.log.hold(TopicName.NOTICES)
    batch = stage.app.give(stage.partition, *(stage.signal() for _ in range(5)))
    await stage.log.seen(TopicName.NOTICES, 3)
    assert not batch.acked
    await stage.stop()
    stage.log.release(TopicName.NOTICES)
    stage.start()
    await stage.give(*stage.records)
    commands, told = stage.commands(), stage.notices()
    assert [each.id for each in commands[2:]] == [each.id for each in commands[:2]]
    assert told[3:] == told[:3]


async def test_when_kafka_cannot_be_asked_the_run_ends_and_the_next_one_disables(stage: Stage) -> None:
    stage.ends.failure = Unavailable("no broker")
    with pytest.raises(Unavailable):
        await stage.give(*(stage.signal() for _ in range(5)))
    assert stage.commands() == [] and stage.partition.tables[TABLE] == {}
    stage.start()
    await stage.give(*stage.records)
    assert [type(each.action).__name__ for each in stage.commands()] == ["MarkFailing", "SuspendEndpoint"]


async def test_a_success_clears_the_state_without_a_notice_if_none_was_sent(stage: Stage) -> None:
    await stage.give(stage.signal(), stage.signal())
    assert set(stage.partition.tables[TABLE]) == {b"ep"}
    await stage.give(stage.signal("ok"))
    assert stage.partition.tables[TABLE] == {} and stage.commands() == []
    await stage.give(*(stage.signal() for _ in range(3)), stage.signal("ok"))
    assert [each.action for each in stage.commands()] == [MarkFailing("ep", 1, START + 3, None), MarkFailing("ep", 1)]
    assert stage.kinds() == ["endpoint.failing", "endpoint.recovered"]


async def test_foreign_records_are_skipped(stage: Stage) -> None:
    poison = [stage.signal(value=value) for value in (b"", b"{", b"\xff" * 100, b'{"outcome":1}')]
    poison.append(stage.signal()._replace(key=b"\xff"))
    poison.append(stage.signal()._replace(key=None))
    await stage.give(*poison, *(stage.signal() for _ in range(5)))
    assert stage.kinds()[-1] == "endpoint.disabled"


async def test_an_unreadable_table_entry_counts_as_absent(stage: Stage) -> None:
    stage.partition.tables[TABLE][b"ep"] = b"\xc1"
    await stage.give(*(stage.signal() for _ in range(5)))
    assert stage.kinds()[-1] == "endpoint.disabled"


async def test_records_read_before_a_reassignment_are_not_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def moved_meanwhile(*_: Any) -> None:
        stage.partition.current = False

    with monkeypatch.context() as patched:
        patched.setattr(stage.feed, "catch_up", moved_meanwhile)
        stage.app.give(stage.partition, stage.signal())
        await settle()
    assert not stage.app.batches[0].acked
    other = MemoryPartition(3)
    await stage.app.acked(stage.app.give(other, stage.signal()))
    assert (stage.partition.tables[TABLE], len(other.tables[TABLE])) == ({}, 1)
