"""Topics that are not as declared: a start is refused with the remedy, a running process says so and does not loop."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.adapters.kafka.admin import KafkaAdmin
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer
from tests.kafka import clients_at
from tests.patience import LOOKS


async def raised(bootstrap: str, topic: str, count: int) -> None:
    """What `kafka-topics.sh --alter --partitions` does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_partitions({topic: NewPartitions(total_count=count)})
    for _ in range(LOOKS):  # a broker may be a moment behind the controller
        (described,) = await admin.describe_topics([topic])
        if len(described["partitions"]) == count:
            break
        await pause(0.05)
    await admin.close()


async def test_dangerous_drift_refuses_the_start(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    resource = ConfigResource(ConfigResourceType.TOPIC, f"{prefix}registry", configs={"cleanup.policy": "delete"})
    await admin.alter_configs([resource])
    await admin.close()
    topics = topics_of(Settings(topic_prefix=prefix, partitions=4, replication_factor=1))
    async with KafkaAdmin(clients_at(broker.bootstrap)) as looking:
        for _ in range(LOOKS):
            if (await looking.actual(topics))[f"{prefix}registry"].config["cleanup.policy"] == "delete":
                break
            await pause(0.05)
    told = (await running.cli("run", "registry", expect=2))["reason"]
    assert f"{prefix}registry: cleanup.policy is delete" in told and "hookstream topics apply" in told
    await running.cli("topics", "apply")
    await raised(broker.bootstrap, f"{prefix}deliveries", 16)
    told = (await running.cli("run", "dispatch", expect=2))["reason"]
    assert f"{prefix}deliveries has 16" in told and f"--delete --topic {prefix}deliveries" in told


async def test_topics_of_version_0_refuse_the_start(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    old = f"{prefix}hookstream.sequencer-line-changelog"
    await admin.create_topics([NewTopic(old, 1, 1)])
    for _ in range(LOOKS):  # the broker answers before its own metadata has the topic
        if old in await admin.list_topics():
            break
        await pause(0.05)
    await admin.close()
    reason = (await running.cli("run", "registry", expect=2))["reason"]
    assert "docs/upgrading.md" in reason and f"{old} exist" in reason


async def test_a_partition_count_raised_at_run_time_is_reported_without_a_restart_loop(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with inbox() as (box, base), producer(broker.bootstrap) as kafka:
        await running.add(f"{base}/standard/x")
        event = json.dumps({"type": "a.b", "id": "before", "data": {}}).encode()
        await kafka.send_and_wait(f"{prefix}events.raw", event, partition=0)
        await box.until(lambda: box.ids() == ["before"])
        await raised(broker.bootstrap, f"{prefix}events.raw", 5)
        status, roles = 200, {"topics": "ready"}
        for _ in range(LOOKS):
            status, roles = await running.readiness()
            if status == 503 and roles["topics"] != "ready":
                break
            await pause(0.1)
        assert status == 503
        assert roles["topics"].startswith(f"{prefix}events.raw has 5 partitions instead of 4")
        await pause(30)  # as long as several restarts took
        restarts = re.findall(r'role_restarts_total\{role="(\w+)"\} ([\d.]+)', await running.metrics())
        assert all(float(number) <= 1 for _, number in restarts), restarts
        assert box.ids() == ["before"]
        assert await running.stop() == 0
        told = (await running.cli("run", "all", expect=2))["reason"]
        assert f"{prefix}events.raw has 5" in told
