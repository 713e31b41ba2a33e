"""Streams of events, on fakes: whose events they have, what a client that reconnects gets, and what ends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.api.problems import ApiError
from app.api.request import Caller
from app.api.server import event_streams
from app.api.server.event_streams import StreamHub, StreamSubscription, positions_of
from app.core.errors import Unavailable
from app.core.topics.names import TopicName
from tests.api.read_stage import ACME, Stage
from tests.fakes.clock import settle
from tests.fakes.log import MemoryRecord
from tests.patience import PATIENCE_S
from tests.roles.replay.replay_stage import MemoryReader

OTHER = msgspec.structs.replace(ACME, id="o", tenant="other")


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    made.clock.auto = False
    return made


@pytest.fixture
async def hub(stage: Stage) -> AsyncIterator[StreamHub]:
    made = StreamHub(stage.services)
    yield made
    await made.close()


class Client:
    """Collects the messages of a stream."""

    def __init__(self, subscription: StreamSubscription) -> None:
        self.subscription = subscription
        self.messages: list[dict[str, Any]] = []
        self.task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for frame in self.subscription.frames():
            fields: dict[str, Any] = {}
            for line in frame.decode().strip().split("\n"):
                name, _, text = line.partition(": ")
                fields[name] = fields[name] + "\n" + text if name in fields else text
            if "data" in fields:
                fields["data"] = json.loads(fields["data"])
            self.messages.append(fields)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The messages of that kind."""
        return [each for each in self.messages if each.get("event") == name]

    def ids(self) -> list[str]:
        """The ids of the events that have arrived."""
        return [each["data"]["id"] for each in self.named("event")]

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def follow(hub: StreamHub, caller: Caller = ACME, *patterns: str, last_id: str = "") -> Client:
    """A client whose stream has begun."""
    client = Client(await hub.subscribe(caller, patterns or ("*",), lambda: True, last_id))
    await settle()
    return client


def reader_of(stage: Stage) -> MemoryReader:
    reader = stage.services.past
    assert isinstance(reader, MemoryReader)
    return reader


async def arrived(stage: Stage) -> None:
    """Everything that was appended has been read."""
    stage.log.pulse.beat()
    await settle()


def put(stage: Stage, value: bytes, partition: int = 0) -> MemoryRecord:
    return stage.log.put(TopicName.EVENTS_RAW, value=value, partition=partition)


async def test_a_stream_has_the_events_of_its_tenant_and_mode_and_nothing_else(stage: Stage, hub: StreamHub) -> None:
    stage.event("before")
    client = await follow(hub)
    stage.event("e1", ordering_key="k", created_at="2026-01-01T00:00:00Z")
    stage.event("theirs", tenant="other")
    stage.event("test", mode="test")
    put(stage, b"no event")
    stage.event("e2", partition=1)
    await arrived(stage)
    assert client.ids() == ["e1", "e2"]
    (ready,) = client.named("ready")
    assert (ready["data"], ready["id"]) == ({"tenant": "acme", "mode": "live"}, "1,0")
    first, second = client.named("event")
    assert first["data"] | {"appended_at": ""} == {
        "id": "e1",
        "type": "a.b",
        "created_at": "2026-01-01T00:00:00Z",
        "appended_at": "",
        "ordering_key": "k",
        "traceparent": None,
        "partition": 0,
        "offset": 1,
        "data": {"n": 1},
    }
    assert second["id"] == "5,1"


async def test_a_stream_is_narrowed_to_event_types(stage: Stage, hub: StreamHub) -> None:
    client = await follow(hub, ACME, "user.*", "order.paid")
    for number, kind in enumerate(("user.created", "order.paid", "order.lost", "users")):
        stage.event(f"e{number}", type=kind)
    await arrived(stage)
    assert client.ids() == ["e0", "e1"]


async def test_all_clients_share_one_reader_which_ends_with_the_last(stage: Stage, hub: StreamHub) -> None:
    clients = [await follow(hub), await follow(hub), await follow(hub, OTHER)]
    assert reader_of(stage).readings == 1
    stage.event("e1")
    await arrived(stage)
    assert [each.ids() for each in clients] == [["e1"], ["e1"], []]
    for client in clients:
        await client.leave()
    await settle()
    assert (hub.streams(), reader_of(stage).readings) == (0, 0)


async def test_a_client_that_reconnects_gets_what_it_missed_once_and_in_order(stage: Stage, hub: StreamHub) -> None:
    first = await follow(hub)
    stage.event("e1")
    await arrived(stage)
    last_id = first.named("event")[0]["id"]
    await first.leave()
    for number in range(2, 5):
        stage.event(f"e{number}", partition=number % 2)
    stage.event("theirs", tenant="other")
    second = await follow(hub, last_id=last_id)
    stage.event("e5")
    await arrived(stage)
    assert sorted(second.ids()) == ["e2", "e3", "e4", "e5"] and second.ids()[-1] == "e5"
    assert second.ids().index("e2") < second.ids().index("e4"), "both are in partition 0"
    assert not second.named("gap") and reader_of(stage).readings == 1
    third = await follow(hub, last_id=second.named("event")[-1]["id"])
    assert third.ids() == []


async def test_the_id_of_any_message_is_where_a_client_can_continue(stage: Stage, hub: StreamHub) -> None:
    for number in range(6):
        stage.event(f"e{number}", partition=number % 2)
    client = await follow(hub, last_id="0,0")
    await arrived(stage)
    ids = client.ids()
    for at, message in enumerate(client.named("event")):
        again = await follow(hub, last_id=message["id"])
        await arrived(stage)
        assert sorted(again.ids()) == sorted(ids[at + 1 :])
        await again.leave()


async def test_too_much_to_catch_up_is_a_gap_and_not_silence(
    stage: Stage, hub: StreamHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "MAX_MISSED", 10)
    monkeypatch.setattr(event_streams, "_POLLED", 5)
    for number in range(40):
        stage.event(f"e{number}")
    client = await follow(hub, last_id="0,0")
    stage.event("next")
    await arrived(stage)
    (gap,) = client.named("gap")
    assert gap["id"] == "40,0" and "caught up" in gap["data"]["detail"]
    assert client.ids()[-1] == "next" and len(client.ids()) < 40


async def test_a_position_beyond_the_log_is_its_end(stage: Stage, hub: StreamHub) -> None:
    stage.event("old")
    client = await follow(hub, last_id="900,900")
    stage.event("e1")
    await arrived(stage)
    assert client.ids() == ["e1"]


@pytest.mark.parametrize("last_id", ["x", "1,", "-1", "1.5", "9" * 30, "1,,2", "١"])
async def test_a_made_up_id_is_refused(hub: StreamHub, last_id: str) -> None:
    with pytest.raises(ApiError, match="Last-Event-ID"):
        await hub.subscribe(ACME, ("*",), lambda: True, last_id)
    assert hub.streams() == 0


async def test_a_client_that_does_not_read_is_disconnected_with_the_reason(
    stage: Stage, hub: StreamHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "MAX_FRAMES", 5)
    reading = await follow(hub)
    slow = await hub.subscribe(ACME, ("*",), lambda: True)
    for number in range(20):
        stage.event(f"e{number}")
        await arrived(stage)
    frames = [frame async for frame in slow.frames()]
    assert len(frames) == 2 and b"event: end" in frames[-1] and b'"slow"' in frames[-1]
    assert len(reading.ids()) == 20 and hub.streams() == 1


async def test_the_bytes_that_wait_for_a_client_are_bounded(
    stage: Stage, hub: StreamHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "MAX_BYTES", 1000)
    slow = await hub.subscribe(ACME, ("*",), lambda: True)
    stage.event("large", data="x" * 2000)
    await arrived(stage)
    client = Client(slow)
    await settle()
    assert client.ids() == ["large"], "one event of any size may wait"
    await client.leave()
    slow = await hub.subscribe(ACME, ("*",), lambda: True)
    for number in range(2):
        stage.event(f"e{number}", data="x" * 600)
    await arrived(stage)
    assert b'"slow"' in [frame async for frame in slow.frames()][-1]


async def test_streams_are_bounded_by_key_tenant_and_process(hub: StreamHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "MAX_OF_KEY", 2)
    monkeypatch.setattr(event_streams, "MAX_OF_TENANT", 3)
    monkeypatch.setattr(event_streams, "MAX_STREAMS", 4)
    callers = [ACME, msgspec.structs.replace(ACME, id="k2"), OTHER]
    opened = []
    for caller, most in zip(callers, (2, 1, 1), strict=True):
        opened += [await hub.subscribe(caller, ("*",), lambda: True) for _ in range(most)]
        with pytest.raises(ApiError) as refused:
            await hub.subscribe(caller, ("*",), lambda: True)
        assert (refused.value.status, refused.value.code) == (429, "too_many_streams")
    opened[0].close()
    opened[0].close()
    await hub.subscribe(ACME, ("*",), lambda: True)
    assert hub.streams() == 4


async def test_a_caller_who_may_not_read_any_more_is_disconnected(stage: Stage, hub: StreamHub) -> None:
    may = [True]
    client = Client(await hub.subscribe(ACME, ("*",), lambda: may[0]))
    await settle()
    may[0] = False
    await stage.clock.advance(2)
    assert client.named("end")[0]["data"]["reason"] == "unauthenticated" and hub.streams() == 0


async def test_a_beat_moves_the_id_of_a_client_that_gets_no_events(stage: Stage, hub: StreamHub) -> None:
    client = await follow(hub)
    stage.event("theirs", tenant="other")
    await stage.clock.advance(event_streams.BEAT_S + 1)
    assert client.messages[-1]["id"] == "1,0" and "data" not in client.messages[-1]


async def test_without_kafka_no_stream_begins_and_none_is_counted(
    stage: Stage, hub: StreamHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable("Kafka does not answer")

    monkeypatch.setattr(reader_of(stage), "open", fail)
    with pytest.raises(Unavailable):
        await hub.subscribe(ACME, ("*",), lambda: True)
    assert hub.streams() == 0
    monkeypatch.undo()
    assert (await follow(hub)).named("ready")


async def test_a_failure_of_the_reader_ends_streams_and_the_next_begins_anew(
    stage: Stage, hub: StreamHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await follow(hub)

    async def fail(*_: Any, **__: Any) -> None:
        raise Unavailable("the log ends before the offset")

    monkeypatch.setattr("tests.roles.replay.replay_stage.MemoryReading.poll", fail)
    await arrived(stage)
    await stage.clock.advance(1)
    await asyncio.wait_for(client.task, PATIENCE_S)
    assert client.named("end")[0]["data"]["reason"] == "unavailable"
    monkeypatch.undo()
    again = await follow(hub)
    stage.event("e1")
    await arrived(stage)
    assert again.ids() == ["e1"]


async def test_clients_connect_again_when_the_topic_gets_more_partitions(
    stage: Stage, hub: StreamHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await follow(hub)

    async def ends(_topic: str) -> dict[int, int]:
        return {number: len(stage.log.partitions[TopicName.EVENTS_RAW, number]) for number in range(3)}

    monkeypatch.setattr(stage, "ends", ends)
    stage.event("e1", partition=2)
    await stage.clock.advance(event_streams.BEAT_S + 1)
    (end,) = client.named("end")
    assert end["data"]["reason"] == "unavailable" and "more partitions" in end["data"]["detail"]
    again = await follow(hub, last_id="0,0")
    assert again.ids() == ["e1"], "a new partition is read from its beginning"


async def test_data_with_line_breaks_stays_one_message(stage: Stage, hub: StreamHub) -> None:
    client = await follow(hub)
    put(stage, b'{"type":"a.b","id":"e1","tenant":"acme","data":{\r\n"n":\r1}}')
    await arrived(stage)
    assert client.named("event")[0]["data"]["data"] == {"n": 1}


def test_positions_are_read_as_they_are_written() -> None:
    assert positions_of(event_streams.position_text({1: 5, 0: 17, 10: 3})) == [17, 5, 3]
