"""What every member of a consumer group keeps to, on the fake and on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

import pytest
from aiokafka import TopicPartition

from app.adapters.clock import SystemClock
from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.consumer import KafkaGroupConsumer
from app.adapters.kafka.producer import KafkaProducer
from app.core.offsets.partitions import CommittedOffset, PartitionId
from app.core.topics.declarations import TopicSpec
from app.core.topics.drift import CreateTopic
from app.ports.consumer import GroupConsumer, Record
from app.ports.producer import Producer
from tests.conftest import BROKER_USER, RealBroker
from tests.fakes.clock import Pulse
from tests.fakes.log import MemoryLog
from tests.fakes.source import MemoryGroup
from tests.kafka import clients_at
from tests.patience import PATIENCE_S

PARTITIONS = 4


class Heard:
    """A listener that remembers; `gate` makes it slow to answer an assignment."""

    def __init__(self) -> None:
        self.mine: dict[PartitionId, CommittedOffset] = {}
        self.lost: set[PartitionId] = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.assignments = 0
        self.pulse = Pulse()

    async def assigned(self, places: Mapping[PartitionId, CommittedOffset]) -> None:
        self.mine |= places
        self.assignments += 1
        self.pulse.beat()
        await self.gate.wait()

    async def revoked(self, places: set[PartitionId]) -> None:
        self.lost |= places
        for place in places:
            self.mine.pop(place, None)
        self.pulse.beat()

    async def has(self, number: int) -> None:
        """Wait until that many partitions are ours."""
        await self.pulse.until(lambda: len(self.mine) == number, PATIENCE_S)


class Bench:
    """A topic with records, and members of one group that reads it."""

    def __init__(self, log: Producer, topic: str, make: Callable[[], GroupConsumer], quiet_ms: int) -> None:
        self.log = log
        self.topic = topic
        #: how long nothing has to come before nothing is taken for granted
        self.quiet_ms = quiet_ms
        self._make = make
        self._members: list[GroupConsumer] = []

    async def member(self, heard: Heard) -> GroupConsumer:
        """One more member."""
        member = self._make()
        await member.start(heard)
        self._members.append(member)
        return member

    async def leave(self, member: GroupConsumer) -> None:
        """One less."""
        self._members.remove(member)
        await member.stop()

    async def append(self, number: int, partition: int = 0) -> None:
        """So many more records, numbered by offset."""
        for acked in [
            await self.log.append(self.topic, key=None, value=b"v", partition=partition) for _ in range(number)
        ]:
            await acked

    async def stop(self) -> None:
        while self._members:
            await self.leave(self._members[-1])


async def read(member: GroupConsumer, number: int, max_records: int | None = None) -> list[Record]:
    """Poll until that many records are there."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < number:
            for records in (await member.poll(timeout_ms=200, max_records=max_records)).values():
                found += records
    return found


def offsets(records: list[Record]) -> list[int]:
    return [record.offset for record in records]


async def real_group(bootstrap: str, prefix: str, partitions: int) -> Callable[..., KafkaGroupConsumer]:
    """Create `<prefix>topic`. Returns what makes members of the group that reads it."""
    topic = f"{prefix}topic"
    async with KafkaAdmin(clients_at(bootstrap)) as admin:
        spec = TopicSpec(logical=topic, name=topic, partitions=partitions, replication=1, config={})
        await admin.apply([CreateTopic(spec)])

    def member(*, session_s: float = 6, instance: str | None = None) -> KafkaGroupConsumer:
        return KafkaGroupConsumer(
            clients_at(bootstrap),
            group=f"{prefix}group",
            client_id="test",
            topics=[topic],
            session_s=session_s,
            instance=instance,
        )

    return member


@pytest.fixture(params=["memory", "kafka"])
async def bench(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[Bench]:
    topic = f"{prefix}topic"
    if request.param == "memory":
        memory = MemoryLog(SystemClock(), partitions=PARTITIONS)
        running = Bench(memory, topic, MemoryGroup(memory, [topic], SystemClock(), auto=True).member, 10)
        yield running
        await running.stop()
        return
    bootstrap = request.getfixturevalue("broker").bootstrap
    request.node.user_properties.append(BROKER_USER)
    member = partial(await real_group(bootstrap, prefix, PARTITIONS), session_s=10)
    log = KafkaProducer(clients_at(bootstrap), client_id="test")
    await log.start([topic])
    running = Bench(
        log,
        topic,
        member,
        700,
    )
    try:
        yield running
    finally:
        await running.stop()
        await log.close()


async def test_the_listener_is_notified_before_the_first_record(bench: Bench) -> None:
    await bench.append(3)
    heard = Heard()
    heard.gate.clear()
    member = await bench.member(heard)
    await heard.has(PARTITIONS)
    assert set(heard.mine) == {(bench.topic, number) for number in range(PARTITIONS)}
    assert await member.poll(timeout_ms=bench.quiet_ms) == {}, "read before the listener was ready"
    heard.gate.set()
    assert offsets(await read(member, 3)) == [0, 1, 2]


async def test_without_a_commit_reading_starts_at_the_beginning(bench: Bench) -> None:
    await bench.append(2)
    heard = Heard()
    member = await bench.member(heard)
    records = await read(member, 2)
    assert set(heard.mine.values()) == {CommittedOffset(None, "")}
    assert [(record.topic, record.partition, record.offset) for record in records] == [
        (bench.topic, 0, 0),
        (bench.topic, 0, 1),
    ]


async def test_a_commit_and_its_metadata_come_back_at_the_next_assignment(bench: Bench) -> None:
    await bench.append(5)
    first = await bench.member(Heard())
    await read(first, 5)
    assert await first.commit({(bench.topic, 0): (2, "1:abc="), (bench.topic, 1): (0, "")})
    await bench.leave(first)
    heard = Heard()
    second = await bench.member(heard)
    await heard.has(PARTITIONS)
    assert heard.mine == {
        (bench.topic, 0): CommittedOffset(2, "1:abc="),
        (bench.topic, 1): CommittedOffset(0, ""),
        (bench.topic, 2): CommittedOffset(None, ""),
        (bench.topic, 3): CommittedOffset(None, ""),
    }
    assert offsets(await read(second, 3)) == [2, 3, 4]


async def test_leaving_commits_nothing(bench: Bench) -> None:
    await bench.append(3)
    first = await bench.member(Heard())
    await read(first, 3)
    await bench.leave(first)
    assert offsets(await read(await bench.member(Heard()), 3)) == [0, 1, 2]


async def test_a_paused_partition_returns_nothing_until_it_is_resumed(bench: Bench) -> None:
    heard = Heard()
    member = await bench.member(heard)
    await heard.has(PARTITIONS)
    await bench.append(10)
    assert offsets(await read(member, 3, max_records=3)) == [0, 1, 2]
    member.pause((bench.topic, 0))
    assert await member.poll(timeout_ms=bench.quiet_ms) == {}
    await bench.append(1, partition=1)
    assert [record.partition for record in await read(member, 1)] == [1], "a pause stopped another partition"
    member.resume((bench.topic, 0))
    assert offsets(await read(member, 7)) == [3, 4, 5, 6, 7, 8, 9]


async def test_a_poll_gives_at_most_what_was_asked_for(bench: Bench) -> None:
    await bench.append(10)
    await bench.append(10, partition=1)
    member = await bench.member(Heard())
    sizes: list[int] = []
    while sum(sizes) < 20:
        batches = await member.poll(timeout_ms=500, max_records=4)
        sizes.append(sum(len(records) for records in batches.values()))
    assert max(sizes) <= 4


async def test_a_second_member_gets_some_partitions_and_gives_them_back(bench: Bench) -> None:
    one, two = Heard(), Heard()
    first = await bench.member(one)
    await one.has(PARTITIONS)
    second = await bench.member(two)
    await two.has(PARTITIONS // 2)
    await one.has(PARTITIONS // 2)
    assert not set(one.mine) & set(two.mine)
    assert len(one.lost) == PARTITIONS
    for number in range(PARTITIONS):
        await bench.append(1, partition=number)
    assert {(record.topic, record.partition) for record in await read(second, 2)} == set(two.mine)
    assert {(record.topic, record.partition) for record in await read(first, 2)} == set(one.mine)
    await bench.leave(second)
    await one.has(PARTITIONS)


async def test_a_commit_for_another_members_partition_is_refused(bench: Bench) -> None:
    one, two = Heard(), Heard()
    first = await bench.member(one)
    await one.has(PARTITIONS)
    await bench.member(two)
    await two.has(PARTITIONS // 2)
    await one.has(PARTITIONS // 2)
    assert not await first.commit(dict.fromkeys(two.mine, (0, "")))
    assert await first.commit(dict.fromkeys(one.mine, (0, "")))


async def test_a_fresh_group_begins_in_all_partitions_at_once(
    broker: RealBroker, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real group alone: a seek waits for the fetch in progress, and the ladder has a hundred partitions."""
    topic = f"{prefix}topic"
    member = (await real_group(broker.bootstrap, prefix, 9))(session_s=30)
    seek, sought = member._consumer.seek_to_beginning, []

    async def noted(*places: TopicPartition) -> None:
        sought.append(len(places))
        await seek(*places)

    monkeypatch.setattr(member._consumer, "seek_to_beginning", noted)
    await member.start(Heard())
    async with asyncio.timeout(PATIENCE_S):
        while None in [member.position((topic, number)) for number in range(9)]:
            await member.poll(timeout_ms=100)
    assert sought == [9]
    await member.stop()


async def test_a_cancelled_start_leaves_no_member_behind(broker: RealBroker, prefix: str) -> None:
    """The real group alone: aiokafka's start waits for the assignment, and its join goes on when that is cancelled."""
    member = await real_group(broker.bootstrap, prefix, 4)

    class Slow(Heard):
        async def revoked(self, places: set[PartitionId]) -> None:
            await super().revoked(places)
            await self.gate.wait()

    first, second, one, two = member(), member(), Slow(), Heard()
    await first.start(one)
    await one.has(4)
    one.gate.clear()
    starting = asyncio.create_task(second.start(two))
    await one.has(0)  # the group waits for the first member, and the second one for the group
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    one.gate.set()
    await one.has(4)
    assert not two.mine
    await first.stop()


async def test_the_lease_of_a_suspended_member_ends_before_it_is_replaced(broker: RealBroker, prefix: str) -> None:
    """The real group alone: what is pinned is what aiokafka lets us learn of its heartbeats."""
    member = await real_group(broker.bootstrap, prefix, 1)

    class Told(Heard):
        async def revoked(self, places: set[PartitionId]) -> None:
            in_time.append(first.lease_s() > clock.monotonic())
            await super().revoked(places)

    in_time: list[bool] = []
    clock, first, second, one, two = SystemClock(), member(), member(), Told(), Heard()
    await first.start(one)
    await one.has(1)
    lease = first.lease_s()
    async with asyncio.timeout(PATIENCE_S):
        while first.lease_s() <= lease:  # heartbeats renew it
            await asyncio.sleep(0.1)
    in_time.clear()  # the first assignment is preceded by a revocation of nothing
    await first._consumer._coordinator._stop_heartbeat_task()
    await second.start(two)
    await two.has(1)
    assert first.lease_s() <= clock.monotonic() < second.lease_s(), "both would have worked on the partition"
    assert one.mine, "the first one does not know it yet"
    first._consumer._coordinator._start_heartbeat_task()
    await one.pulse.until(lambda: bool(one.lost), PATIENCE_S)
    assert in_time == [False], "it was told like a member that gives its partitions back in time"
    await first.stop()
    await second.stop()


async def test_a_static_member_that_rejoins_in_time_keeps_its_partitions_without_a_rebalance(
    broker: RealBroker, prefix: str
) -> None:
    member = partial(await real_group(broker.bootstrap, prefix, 4), session_s=30)

    one, two = Heard(), Heard()
    first, second = member(instance="a"), member(instance="b")
    await first.start(one)
    await one.has(4)
    await second.start(two)
    await two.has(2)
    await one.has(2)
    for name, leaving, heard, other in (
        ("a", first, one, two),
        ("b", second, two, one),
    ):  # the leader, and the other one
        mine, undisturbed = set(heard.mine), other.assignments
        await leaving.stop()
        again = Heard()
        back = member(instance=name)
        await back.start(again)
        await again.has(2)
        assert set(again.mine) == mine
        assert await back.commit(dict.fromkeys(mine, (0, "")))
        await asyncio.sleep(3)  # longer than several heartbeats: nobody is asked to join again
        assert other.assignments == undisturbed and not other.lost - set(other.mine) - mine, (
            "a restart moved partitions"
        )
        if name == "a":
            first, one = back, again
        else:
            second = back
    await first.stop()
    await second.stop()
