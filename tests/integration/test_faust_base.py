"""The Faust base against a real broker: attack it, and count that nothing is lost."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
import uvloop

from app.core.errors import ConfigError
from tests.conftest import RealBroker
from tests.integration.faust_kit import (
    PARTITIONS,
    Copier,
    Names,
    build,
    committed,
    make_topics,
    open_log,
    produce,
    read_all,
    reset,
    running,
)

DEADLINE_S = 30


@pytest.fixture
async def names(broker: RealBroker, prefix: str) -> Names:
    """Topics of this test's own."""
    names = Names(prefix)
    await make_topics(broker.bootstrap, names)
    return names


def lost(found: Counter[bytes], count: int) -> list[bytes]:
    """Which of the first `count` events never came out."""
    return [b"%d" % number for number in range(count) if not found[b"%d" % number]]


async def within(work: object) -> None:
    """Await, but not for ever."""
    await asyncio.wait_for(work, DEADLINE_S)  # type: ignore[arg-type]


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
async def test_nothing_is_lost_when_tables_are_rebuilt_and_the_group_starts_from_the_beginning(
    broker: RealBroker, names: Names, tmp_path: Path, store: str
) -> None:
    count, rounds = 2_000, 4
    async with open_log(broker.bootstrap, names) as log:
        for number in range(rounds):
            await produce(log, names, number * count, count // 2)
            copier = Copier(log, names)
            async with running(build(broker.bootstrap, names, tmp_path / "tables", store), copier.handle):
                await produce(log, names, number * count + count // 2, count // 2)  # while it recovers
                await within(copier.reached((number + 1) * count))
            assert len(copier.known) == number * count, "the table did not come back from its changelog"
            assert sum((await committed(broker.bootstrap, names)).values()) == (number + 1) * count
            shutil.rmtree(tmp_path / "tables", ignore_errors=True)
            await reset(broker.bootstrap, names)
        found = await read_all(broker.bootstrap, names.out)
    assert not lost(found, rounds * count)
    assert found[b"0"] == rounds


async def test_a_failed_batch_is_never_committed_and_a_new_app_goes_on(
    broker: RealBroker, names: Names, tmp_path: Path
) -> None:
    count = 6_000
    async with open_log(broker.bootstrap, names) as log:
        await produce(log, names, 0, count)
        failing = Copier(log, names, fail_at=count // 2)
        with pytest.raises(RuntimeError, match="on purpose"):
            await within(build(broker.bootstrap, names, tmp_path, max_poll_records=100).run(failing.handle))
        done = await committed(broker.bootstrap, names)
        assert 0 < sum(done.values()) <= failing.handled
        copier = Copier(log, names)
        async with running(build(broker.bootstrap, names, tmp_path), copier.handle):
            await within(copier.reached(count - sum(done.values())))
        assert {batch.partition: batch.start for batch in copier.batches} == {
            number: done.get(number, 0) for number in range(PARTITIONS)
        }
        assert not lost(await read_all(broker.bootstrap, names.out), count)


async def test_acknowledgements_out_of_order_hold_the_commit_back(
    broker: RealBroker, names: Names, tmp_path: Path
) -> None:
    async with open_log(broker.bootstrap, names) as log:
        copier = Copier(log, names)
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def handle(batch: object) -> None:
            if not first.done():
                first.set_result(None)  # and never acknowledge it
            else:
                await copier.handle(batch)  # type: ignore[arg-type]

        async with running(build(broker.bootstrap, names, tmp_path), handle):
            record = log.append(names.events, key=b"0", value=b"", partition=0)
            await (await record)
            await within(first)
            for number in range(1, 50):
                await (await log.append(names.events, key=b"%d" % number, value=b"", partition=0))
            await within(copier.reached(49))
        assert await committed(broker.bootstrap, names) == {}


async def test_killed_workers_lose_nothing_and_repeat_little(broker: RealBroker, names: Names, tmp_path: Path) -> None:
    count, kills = 12_000, 3
    async with open_log(broker.bootstrap, names) as log:
        copied = asyncio.create_task(_flood(log, names, count))
        for number in range(kills):
            worker = await _worker(broker, names, tmp_path / "tables")
            await _grows(broker, names, number * count // 8 + 200)
            worker.send_signal(signal.SIGKILL)
            await worker.wait()
            if number == 1:
                shutil.rmtree(tmp_path / "tables")
        await copied
        # a killed member's session has to run out before its partitions are given away
        copier = Copier(log, names)
        before = sum((await committed(broker.bootstrap, names)).values())
        async with running(build(broker.bootstrap, names, tmp_path / "tables"), copier.handle):
            await asyncio.wait_for(copier.reached(count - before), 60)
    found = await read_all(broker.bootstrap, names.out)
    assert not lost(found, count)
    again = found.total() - count
    print(f"{again} of {count} events came out again after {kills} kills")
    assert again < count


async def _flood(log: object, names: Names, count: int) -> None:
    for first in range(0, count, 500):
        await produce(log, names, first, 500)  # type: ignore[arg-type]


async def _worker(broker: RealBroker, names: Names, folder: Path) -> asyncio.subprocess.Process:
    prefix = names.events.removesuffix("events")
    arguments = ["-m", "tests.integration.faust_kit", broker.bootstrap, prefix, str(folder), "rocksdb"]
    return await asyncio.create_subprocess_exec(sys.executable, *arguments)


async def _grows(broker: RealBroker, names: Names, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await read_all(broker.bootstrap, names.out)).total() < count:
            await asyncio.sleep(0.05)


async def test_workers_that_join_and_leave_lose_nothing(broker: RealBroker, names: Names, tmp_path: Path) -> None:
    count = 9_000
    async with open_log(broker.bootstrap, names) as log:
        flood = asyncio.create_task(_flood(log, names, count))
        stay = Copier(log, names)
        async with running(build(broker.bootstrap, names, tmp_path / "stay", client="stay"), stay.handle):
            await within(stay.reached(500))
            for number in range(2):
                guest = Copier(log, names)
                app = build(broker.bootstrap, names, tmp_path / f"guest{number}", client="guest")
                async with running(app, guest.handle):
                    await produce(log, names, count + number * 3_000, 3_000)
                    await within(guest.reached(1))
            await flood
            end = count + 6_000
            async with asyncio.timeout(DEADLINE_S):
                while sum((await committed(broker.bootstrap, names)).values()) < end:
                    await asyncio.sleep(0.05)
        found = await read_all(broker.bootstrap, names.out)
    assert not lost(found, end)
    print(f"{found.total() - end} of {end} events came out again")


async def test_the_broker_dies_for_ten_seconds_and_everything_goes_on(own_broker: RealBroker, tmp_path: Path) -> None:
    names, count = Names("t."), 3_000
    await make_topics(own_broker.bootstrap, names)
    async with open_log(own_broker.bootstrap, names) as log:
        copier = Copier(log, names)
        async with running(build(own_broker.bootstrap, names, tmp_path / "tables"), copier.handle) as app:
            flood = asyncio.create_task(_flood(log, names, count))
            await within(copier.reached(500))
            own_broker.kill()
            await asyncio.sleep(10)
            await own_broker.restart()
            await within(flood)
            await within(copier.reached(count))
            assert not app.done()
        assert not lost(await read_all(own_broker.bootstrap, names.out), count)


async def test_stopping_is_bounded_while_the_broker_is_away(own_broker: RealBroker, tmp_path: Path) -> None:
    names, loop = Names("t."), asyncio.get_running_loop()
    await make_topics(own_broker.bootstrap, names)
    async with open_log(own_broker.bootstrap, names) as log:
        copier = Copier(log, names)
        async with running(build(own_broker.bootstrap, names, tmp_path / "tables"), copier.handle):
            await produce(log, names, 0, 10)
            await within(copier.reached(10))
            own_broker.kill()
            begun = loop.time()
        assert loop.time() - begun < 10


async def test_missing_topics_are_named(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    names = Names(prefix)
    with pytest.raises(ConfigError, match=f"{names.events} has 0 partitions"):
        await within(build(broker.bootstrap, names, tmp_path).run(lambda batch: batch.ack()))


def test_apps_follow_each_other_under_uvloop(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async def work() -> None:
        names = Names(prefix)
        await make_topics(broker.bootstrap, names)
        async with open_log(broker.bootstrap, names) as log:
            for number in range(3):
                copier = Copier(log, names)
                app = build(broker.bootstrap, names, tmp_path)
                async with running(app, copier.handle):
                    await produce(log, names, number * 100, 100)
                    await within(copier.reached(100))
                    assert app.ready() is None
                    assert sum(end for _, end in app.lag().values()) == (number + 1) * 100
        assert len(asyncio.all_tasks()) == 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


async def test_a_member_without_partitions_is_ready(broker: RealBroker, names: Names, tmp_path: Path) -> None:
    async with open_log(broker.bootstrap, names) as log:
        copiers = [Copier(log, names) for _ in range(PARTITIONS + 1)]
        apps = [build(broker.bootstrap, names, tmp_path / str(number)) for number in range(PARTITIONS + 1)]
        tasks = [asyncio.create_task(app.run(copier.handle)) for app, copier in zip(apps, copiers, strict=True)]
        async with asyncio.timeout(DEADLINE_S):
            while any(app.ready() for app in apps) or sum(len(app.lag()) for app in apps) != PARTITIONS:
                await asyncio.sleep(0.05)
        assert sorted(len(app.lag()) for app in apps) == [0, 1, 1, 1]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
