"""A log that begins behind our commit, ends before it, or was made again: said, counted, and work goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.client import AIOKafkaClient
from aiokafka.structs import OffsetAndMetadata

from app.adapters.kafka.metadata import topic_facts
from app.core.offsets.commit_marks import COMMIT_MARK
from app.core.offsets.log_moves import stamp
from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer
from tests.e2e.upstream import until_caught_up
from tests.kafka import clients_at
from tests.patience import LOOKS

PARTITIONS = 4


def mentions(line: str, metrics: str) -> bool:
    return line in metrics


async def until(running: Service, condition: Callable[[str], bool]) -> str:
    """/metrics, once it satisfies the condition."""
    for _ in range(LOOKS):
        metrics = await running.metrics()
        if condition(metrics):
            return metrics
        await pause(0.1)
    raise AssertionError(metrics)


async def warnings(running: Service) -> list[str]:
    async with aiohttp.ClientSession() as http, http.get(f"{running.probe_url}/readyz") as answer:
        found: list[str] = (await answer.json())["warnings"]
        return found


async def append(running: Service, *ids: str) -> None:
    async with producer(running.bootstrap) as kafka:
        for id_ in ids:
            event = json.dumps({"type": "a.b", "id": id_, "data": {}}).encode()
            await kafka.send_and_wait(f"{running.prefix}events.raw", event, partition=0)


async def commit(bootstrap: str, group: str, topic: str, beyond: int, mark: str) -> None:
    """The group has, in its log's own name, committed more than the log has: the brokers have lost its end."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    log_id = (await topic_facts(client, [topic]))[topic].id
    await client.close()
    member = clients_at(bootstrap).consumer("test", group=group)
    await member.start()
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    member.assign(places)
    ends = await member.end_offsets(places)
    await member.commit({place: OffsetAndMetadata(ends[place] + beyond, stamp(log_id, mark)) for place in places})
    await member.stop()


async def delivered(running: Service, box: Inbox, *ids: str) -> None:
    """These were delivered, and they are everything, once."""
    await box.until(lambda: {*box.ids()} >= {*ids})
    for role, topic in (("fanout", "events.raw"), ("dispatch", "deliveries")):
        await until_caught_up(
            running.bootstrap, f"{running.prefix}hookstream.{role}", f"{running.prefix}{topic}", PARTITIONS
        )
    assert Counter(box.ids()) == Counter(ids)


async def test_a_log_without_its_beginning_is_read_on_and_reported(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base):
        await running.add(f"{base}/standard/x")
        await append(running, "a")
        await delivered(running, box, "a")
        assert await running.stop() == 0
        await append(running, "lost0", "lost1", "b")
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        await admin.delete_records({TopicPartition(f"{prefix}events.raw", 0): RecordsToDelete(before_offset=3)})
        await admin.close()
        await running.start()
        await until(running, lambda told: 'logs_moved_total{kind="beginning_lost",role="fanout"} 1.0' in told)
        await delivered(running, box, "a", "b")
        # the projection reads the topic, too, and may have a warning of its own
        (warning,) = [each for each in await warnings(running) if each.startswith("fanout: ")]
        assert warning.startswith(f"fanout: {prefix}events.raw, partition 0 begins at 3, behind the committed offset 1")
        await running.until_ready()
        assert await running.stop() == 0


async def test_a_log_that_has_lost_its_end_is_not_sent_again(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    groups = [
        ("fanout", "events.raw", COMMIT_MARK),
        ("dispatch", "deliveries", ""),
        ("health", "endpoints.signals", COMMIT_MARK),
        ("sequencer", "deliveries.ordered", COMMIT_MARK),
        ("delay", "deliveries.delay.5s", ""),
    ]
    async with inbox() as (box, base):
        await running.add(f"{base}/standard/x")
        await append(running, *(f"a{number}" for number in range(20)))
        await delivered(running, box, *(f"a{number}" for number in range(20)))
        assert await running.stop() == 0
        for role, topic, mark in groups:
            await commit(broker.bootstrap, f"{prefix}hookstream.{role}", f"{prefix}{topic}", 50, mark)
        box.received.clear()
        await running.start()
        for role, _, _ in groups:
            await until(running, partial(mentions, f'logs_moved_total{{kind="end_lost",role="{role}"}}'))
        await running.until_ready()
        await append(running, "b")
        await delivered(running, box, "b")
        assert await running.stop() == 0


@pytest.mark.parametrize("topic", ["events.raw", "deliveries"])
async def test_a_topic_recreated_at_run_time_is_read_from_its_beginning(
    broker: RealBroker, prefix: str, tmp_path: Path, topic: str
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base):
        await running.add(f"{base}/standard/x")
        await append(running, *(f"a{number}" for number in range(20)))
        await delivered(running, box, *(f"a{number}" for number in range(20)))
        box.received.clear()
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        await admin.delete_topics([f"{prefix}{topic}"])
        await admin.close()
        await running.cli("topics", "apply")
        new = [f"b{number}" for number in range(30)]
        await append(running, *new)
        await box.until(lambda: {*box.ids()} >= {*new})
        assert not {each for each in box.ids() if each.startswith("a")}, "what was done is not sent again"
        await running.until_ready()
        assert await running.stop() == 0
