"""Replays in progress: rate, pause, cancellation, order, and a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer, read
from tests.e2e.replay_party import CLOCK, Party, again, names, party_of
from tests.patience import PATIENCE_S


@pytest_asyncio.fixture
async def kafka(broker: RealBroker) -> AsyncIterator[AIOKafkaProducer]:
    async with producer(broker.bootstrap) as client:
        yield client


@pytest_asyncio.fixture
async def acme(shared: Service, kafka: AIOKafkaProducer) -> Party:
    return await party_of(shared, kafka)


async def test_the_rate_is_kept_while_live_events_pass(acme: Party) -> None:
    async with inbox() as (box, url):
        await acme.endpoint(f"{url}/standard")
        await acme.append(names(30))
        await box.until(lambda: len(box.received) == 30)
        begun_s = CLOCK.monotonic()
        made = await acme.replay(rate=2)
        await box.until(lambda: len(again(box)) >= 5)
        for number in range(5):
            await acme.append([f"live{number}"])
            await box.until(lambda number=number: f"live{number}" in box.ids())  # type: ignore[misc]
        assert len(again(box)) < 30, "live events wait for no replay"
        await box.until(lambda: len(again(box)) == 30)
        assert CLOCK.monotonic() - begun_s > 12, "faster than 2 per second"
        done = await acme.until(made["id"], "done")
        assert done["sent"] == 30, "the end was fixed when it began"


async def test_pause_resume_and_cancel(acme: Party) -> None:
    async with inbox() as (box, url):
        await acme.endpoint(f"{url}/standard")
        await acme.append(names(40))
        await box.until(lambda: len(box.received) == 40)
        made = await acme.replay(rate=6)
        await box.until(lambda: len(again(box)) >= 4)
        assert (await acme.do(made["id"], "pause"))["state"] == "paused"
        assert await standing(box) < 40, "the pause did not stop it"
        assert (await acme.do(made["id"], "resume"))["state"] in ("running", "pending")
        done = await acme.until(made["id"], "done")
        await box.until(lambda: len(again(box)) == 40)
        assert done["sent"] == 40 and len({each.event_id for each in again(box)}) == 40
        second = await acme.replay(rate=2)
        await box.until(lambda: len(again(box)) >= 44)
        assert (await acme.do(second["id"], "cancel"))["state"] == "cancelled"
        assert await standing(box) < 80, "the cancellation did not stop it"
        assert (await acme.do(second["id"], "resume"))["state"] == "cancelled"


async def standing(box: Inbox) -> int:
    """How many came in replays, once no more come; what was under way still arrives."""
    number = -1
    async with asyncio.timeout(PATIENCE_S):
        while number != len(again(box)):
            number = len(again(box))
            await pause(1.0)
    return number


async def test_paused_disabled_and_removed_endpoints(acme: Party) -> None:
    async with inbox() as (box, url), inbox() as (held, held_url), inbox() as (off, off_url):
        await acme.endpoint(f"{url}/standard")
        paused = await acme.endpoint(f"{held_url}/standard")
        disabled = await acme.endpoint(f"{off_url}/standard")
        await acme.append(names(5))
        for each in (box, held, off):
            await each.until(lambda each=each: len(each.received) == 5)  # type: ignore[misc]
        await acme.act(paused, "pause")
        await acme.act(disabled, "disable")
        answer = await acme.ask(endpoint=disabled)
        assert answer.status == 422 and "enable it first" in answer.body["detail"]
        trial = (await acme.replay(dry_run=True))["counted"]
        assert (trial["deliveries"], trial["skipped"]) == (10, 5)
        done = await acme.run()
        assert (done["sent"], done["put_aside"], done["skipped"]) == (5, 5, 5)
        await acme.act(paused, "resume")
        await held.until(lambda: len(again(held)) == 5)
        assert {each.headers["webhook-replay"] for each in again(held)} == {done["id"]}
        assert not again(off)


async def test_an_endpoint_in_order_gets_its_replay_in_order(acme: Party) -> None:
    async with inbox() as (box, url):
        await acme.endpoint(f"{url}/standard", ordering="fifo")
        await acme.append(names(30))
        await box.until(lambda: len(box.received) == 30)
        await acme.run()
        await box.until(lambda: len(again(box)) == 30)
        assert [int(each.headers["webhook-sequence"]) for each in again(box)] == list(range(1, 31))


async def test_kill_9_loses_nothing(
    broker: RealBroker, prefix: str, tmp_path: Path, kafka: AIOKafkaProducer, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply", "-o", "json")
    await running.start()
    async with inbox() as (box, url), inbox() as (other, other_url):
        acme = await party_of(running, kafka)
        await acme.endpoint(f"{url}/standard")
        await acme.endpoint(f"{other_url}/standard")
        events = names(1500)
        await acme.append(events)
        await box.until(lambda: len(box.received) == 1500)
        made = await acme.replay()
        await box.until(lambda: len(again(box)) >= 400)
        running.kill()
        await running.ended()
        await running.start()
        done = await acme.until(made["id"], "done")
        for each in (box, other):
            await each.until(lambda each=each: len({one.event_id for one in again(each)}) == 1500)  # type: ignore[misc]
        repeated = sum(len(again(each)) for each in (box, other)) - 3000
        twice = await handed_out_twice(broker, prefix, made["id"], 3000)
        await trimmed(broker, acme)
        assert await running.stop() == 0
    with capsys.disabled():
        print(f"\nkill -9 in a replay of 3000: 0 lost, {repeated} sent again; {twice} of them handed out again")
    assert twice < 300 and repeated < 2400 and done["sent"] == 3000


async def handed_out_twice(broker: RealBroker, prefix: str, replay: str, number: int) -> int:
    """How many deliveries of a replay are in `deliveries` more than once."""
    mine = ("replay-id", replay.encode())

    def ids(records: list[Any]) -> list[bytes]:
        return [dict(each.headers)["delivery-id"] for each in records if mine in each.headers]

    records = await read(broker.bootstrap, f"{prefix}deliveries", lambda found: len(set(ids(found))) == number)
    return len(ids(records)) - number


async def trimmed(broker: RealBroker, acme: Party) -> None:
    """What retention has removed is said."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        for topic in ("events.raw", "attempts"):
            places = [TopicPartition(f"{acme.service.prefix}{topic}", number) for number in range(4)]
            await admin.delete_records({place: RecordsToDelete(before_offset=-1) for place in places})
    finally:
        await admin.close()
    none = await acme.replay(dry_run=True)
    assert none["messages"] == ["no record is kept at all: there is nothing to replay"]
    assert none["counted"]["deliveries"] == 0
    await acme.append(["last"])
    asked = await acme.ask(from_="3h", to="2099-01-01T00:00:00Z", only="missing", dry_run=True)
    early, removed, late, forgotten = asked.body["messages"]
    assert "is before the oldest record kept" in early and "begins there" in early
    assert removed.startswith("retention has removed events of this range from 1 of 4 partitions")
    assert "in the future: ends now" in late and "deleted by retention" in forgotten
    environ = ["--url", acme.service.api_url, "--key", acme.live]
    said = await acme.service.cli("replay", "start", "--from", "3h", *environ, "-o", "json")
    assert said["state"] == "done" and said["sent"] == 2 and "begins there" in said["messages"][0]
    shown = await acme.service.cli("replay", "show", said["id"], *environ, "-o", "json")
    assert shown["messages"] == said["messages"], "the replay remembers"
