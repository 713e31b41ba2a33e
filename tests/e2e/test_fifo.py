"""Order: an endpoint that wants it gets a key's deliveries one at a time, whatever fails and whoever is killed."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path

from app.embedded.receiver.receiver import Received
from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer, read, service

KEYS = 20


def by_key(box: Inbox, path: str) -> dict[str, list[Received]]:
    """The requests of each ordering key, as they came."""
    found: dict[str, list[Received]] = defaultdict(list)
    for each in box.received:
        if each.path == path:
            found[each.headers["webhook-ordering-key"]].append(each)
    return found


def in_order(requests: list[Received]) -> bool:
    """Whether no event was sent before the one ahead of it had succeeded."""
    done = 0
    for each in requests:
        sequence = int(each.headers["webhook-sequence"])
        if sequence > done + 1:
            return False
        if each.status == 200:
            done = max(done, sequence)
    return True


async def append(running: Service, first: int, last: int, keys: int = KEYS) -> None:
    async with producer(running.bootstrap) as kafka:
        for number in range(first, last):
            key = f"k{number % keys}"
            event = {"type": "a.b", "id": f"evt_{number}", "data": {}, "ordering_key": key}
            await kafka.send_and_wait(f"{running.prefix}events.raw", json.dumps(event).encode(), key=key.encode())


async def test_each_key_is_in_order_whatever_fails(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox("status:500*7,200") as (box, base):
        await running.add(f"{base}/standard/a", ordering="fifo", schedule="0,1,1,1,1,1,1,1,1")
        await append(running, 0, 400)
        await box.until(lambda: sum(each.status == 200 for each in box.received) == 400)
        lines = by_key(box, "/standard/a")
        assert len(lines) == KEYS
        assert all(in_order(requests) for requests in lines.values())
        assert all(len({each.event_id for each in requests}) == 20 for requests in lines.values())
        assert any(each.status == 500 for each in box.received)


async def test_a_failing_key_holds_back_no_other(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox("status:500*7,200") as (box, base):
        await running.add(f"{base}/standard/a", ordering="fifo", schedule="0,3600")
        await append(running, 0, 200)
        await box.until(lambda: sum(each.status == 200 for each in box.received) >= 13 * 10)
        lines = by_key(box, "/standard/a")
        failed = [key for key, requests in lines.items() if requests[0].status == 500]
        assert len(failed) == 7, "one request of each, which waits for an hour"
        assert all(len(lines[key]) == (1 if key in failed else 10) for key in lines)


async def test_kill_9_keeps_the_order(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base):
        await running.add(f"{base}/standard/a", ordering="fifo")
        await append(running, 0, 300)
        for _ in range(2):
            seen = len(box.received)
            await append(running, 300 + seen, 301 + seen)
            running.kill()
            await running.ended()
            await running.start()
        await append(running, 2000, 2100)
        wanted = {f"evt_{number}" for number in (*range(300), *range(2000, 2100))}
        await box.until(lambda: set(box.ids()) >= wanted)
        for requests in by_key(box, "/standard/a").values():
            firsts = list(dict.fromkeys(int(each.headers["webhook-sequence"]) for each in requests))
            assert firsts == sorted(firsts), "the first sight of each is in order"
        assert await running.stop() == 0


async def test_a_dead_delivery_blocks_its_key_or_is_skipped(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox("status:500,200") as (box, base):
        key = await running.key("default")
        for name, on_exhausted in (("block", "block"), ("skip", "skip")):
            body = {
                "url": f"{base}/standard/{name}",
                "events": "*",
                "ordering": "fifo",
                "on_exhausted": on_exhausted,
                "schedule": [0],
            }
            made = await running.ask("POST", "/v1/webhooks", body, key=key)
            assert made.status == 201, made
        await append(running, 0, 6, keys=2)
        await box.until(lambda: len(box.ids("/standard/skip")) == 6 and len(box.ids("/standard/block")) == 4)
        await pause(0.5)  # in which nothing more may come
        blocked = [key for key, requests in by_key(box, "/standard/block").items() if len(requests) == 1]
        assert len(blocked) == 1, "one key has failed once, and waits"
        assert all(
            in_order(requests) or requests[0].status == 500 for requests in by_key(box, "/standard/skip").values()
        )


async def test_late_writes_of_a_replaced_worker_stop_no_key_queue(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base), producer(broker.bootstrap) as kafka:
        await running.add(f"{base}/standard/a", ordering="fifo")
        await append(running, 0, 40, keys=2)
        await box.until(lambda: len(set(box.ids())) == 40)
        assert await running.stop() == 0
        changelog = f"{prefix}hookstream.sequencer-queues-changelog"
        records = await read(broker.bootstrap, changelog, lambda seen: len({each.key for each in seen}) == 2)
        early = {each.key: each for each in reversed(records) if each.value}
        for each in early.values():  # as from a worker that stood still since then
            await kafka.send_and_wait(changelog, each.value, key=each.key, partition=each.partition)
        shutil.rmtree(tmp_path / "queues")
        await running.start()
        await append(running, 40, 60, keys=2)
        await box.until(lambda: len(set(box.ids())) == 60)
        assert await running.stop() == 0
