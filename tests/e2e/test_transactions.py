"""Only committed input counts: what an aborted transaction has written is delivered, replayed and shown to nobody."""

from __future__ import annotations

import json
from pathlib import Path

from aiokafka import TopicPartition

from app.runtime.roles import GROUPS
from tests.conftest import RealBroker
from tests.e2e.harness import Inbox, Service, inbox, pause, producer, service
from tests.e2e.upstream import until_caught_up, until_readable, upstream
from tests.kafka import clients_at
from tests.patience import PATIENCE_S

PARTITIONS = 4


async def lag_is_zero(running: Service) -> None:
    """Wait until every lag of fan-out and dispatch that is shown is 0."""
    for _ in range(int(PATIENCE_S / 0.2)):
        lines = [line for line in (await running.metrics()).splitlines() if "consumer_lag_records{" in line]
        mine = [line for line in lines if "hookstream.fanout" in line or "hookstream.dispatch" in line]
        if mine and all(line.endswith(" 0.0") for line in mine):
            return
        await pause(0.2)
    raise AssertionError(mine)


async def replayed(running: Service, box: Inbox) -> list[str]:
    """The events of a replay of everything, each as often as it came."""
    key = await running.key("default")
    asked = await running.ask("POST", "/v1/replays", {"from": "begin"}, key=key)
    assert asked.status == 202, asked
    for _ in range(int(PATIENCE_S / 0.1)):
        shown = (await running.ask("GET", f"/v1/replays/{asked.body['id']}", key=key)).body
        if shown["state"] == "done":
            break
        await pause(0.1)
    assert shown["state"] == "done", shown
    # it is done when its deliveries are on their way
    await box.until(lambda: sum("webhook-replay" in each.headers for each in box.received) >= shown["sent"])
    return [each.event_id or "" for each in box.received if "webhook-replay" in each.headers]


async def reset(bootstrap: str, group: str, topic: str) -> None:
    """What Kafka's own tool does to a group that is stopped."""
    client = clients_at(bootstrap).consumer("operator", group=group)
    await client.start()
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    client.assign(places)
    await client.commit(dict.fromkeys(places, 0))
    await client.stop()


async def test_fanout_replay_and_reset_read_only_committed_events(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    topic, group = f"{prefix}events.raw", f"{prefix}hookstream.fanout"
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")
    await running.start()
    async with (
        inbox() as (box, base),
        upstream(broker.bootstrap, topic) as first,
        upstream(broker.bootstrap, topic, name="another") as second,
        producer(broker.bootstrap) as plain,
    ):
        await running.add(f"{base}/standard/x")
        await first.committed(["c0", "c1"])
        await first.aborted([f"a{number}" for number in range(50)])
        await first.committed(["c2"], partition=1)
        await first.aborted(["a50"], partition=2)  # the only thing there
        await box.until(lambda: {*box.ids()} >= {"c0", "c1", "c2"})
        await until_caught_up(broker.bootstrap, group, topic, PARTITIONS)
        await lag_is_zero(running)

        # An open transaction holds back what comes after it in its partition, and nothing elsewhere.
        await second.begin()
        await second.write(["open"])
        await plain.send_and_wait(topic, json.dumps({"type": "a.b", "id": "c3", "data": 1}).encode(), partition=0)
        await first.committed(["c4"], partition=1)
        await box.until(lambda: "c4" in box.ids())
        await until_caught_up(broker.bootstrap, group, topic, PARTITIONS)
        await lag_is_zero(running)  # of what can be read
        assert "c3" not in box.ids() and "open" not in box.ids()
        assert sorted(await replayed(running, box)) == ["c0", "c1", "c2", "c4"]
        committed = ["c0", "c1", "c2", "c3", "c4"]
        await second.abort()
        await box.until(lambda: "c3" in box.ids())
        await until_caught_up(broker.bootstrap, group, topic, PARTITIONS)
        await lag_is_zero(running)
        firsts = [each.event_id for each in box.received if "webhook-replay" not in each.headers]
        assert sorted(map(str, firsts)) == committed

        assert await running.stop() == 0
        await reset(broker.bootstrap, group, topic)
        box.received.clear()
        await running.start()
        await box.until(lambda: {*box.ids()} >= {*committed})
        await until_caught_up(broker.bootstrap, group, topic, PARTITIONS)
        await lag_is_zero(running)
        assert {*box.ids()} == {*committed}
        assert await running.stop() == 0


async def test_event_pages_show_only_committed_events(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    topic = f"{prefix}events.raw"
    async with (
        service(broker.bootstrap, prefix, tmp_path) as running,
        upstream(broker.bootstrap, topic) as events,
        upstream(broker.bootstrap, f"{prefix}events.rejected") as rejected,
    ):
        key = await running.key("default")
        (shown,) = await events.committed(["shown"])
        (hidden,) = await events.aborted(["hidden"])
        await events.aborted([f"more{number}" for number in range(300)])
        (last,) = await events.committed(["last"])
        await until_readable(broker.bootstrap, topic, last)
        await until_caught_up(broker.bootstrap, f"{prefix}hookstream.fanout", topic, PARTITIONS)
        for id_, offset, status in (("shown", shown, 200), ("hidden", hidden, 404), ("last", last, 200)):
            by_place = await running.ask("GET", f"/v1/events/{id_}?partition=0&offset={offset}", key=key)
            assert by_place.status == status, by_place
            searched = await running.ask("GET", f"/v1/events/{id_}?since=begin", key=key)
            assert searched.status == status, searched
        await rejected.aborted(["no event"])
        (offset,) = await rejected.committed(["no event either"])
        await until_readable(broker.bootstrap, f"{prefix}events.rejected", offset)
        assert len(await running.cli("events", "rejected", "-o", "json")) == 1


async def test_every_group_skips_aborted_transactions(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    topics = [(role, f"{prefix}{logical}") for role, names in GROUPS.items() for logical in names]
    async with service(broker.bootstrap, prefix, tmp_path) as running:
        for number, (_, topic) in enumerate(topics):
            async with upstream(broker.bootstrap, topic, name=f"stranger{number}") as stranger:
                await stranger.aborted(["garbage"])
        for role, topic in topics:
            await until_caught_up(broker.bootstrap, f"{prefix}hookstream.{role}", topic, 1)
        metrics = await running.metrics()
        assert "records_unreadable_total{" not in metrics and "role_restarts_total{" not in metrics
