"""`hookstream groups` on a real broker: lag and members, and a reset that delivers again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.groups import KafkaGroups
from app.core.errors import CommandRefused
from app.core.kafka_connection import KafkaConnection
from app.core.offsets.resets import OffsetReset
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, producer

EVENTS = 30


async def commit_beside_the_members(bootstrap: str, prefix: str) -> None:
    """Kafka itself refuses the commit, should a member join after the command has looked."""
    change = OffsetReset(topic=f"{prefix}events.raw", partition=0, current=1, target=0)
    async with KafkaGroups.opened(KafkaClients(KafkaConnection(bootstrap=bootstrap))) as groups:
        with pytest.raises(CommandRefused, match="has members"):
            await groups.reset(f"{prefix}hookstream.fanout", [change])


async def test_a_reset_of_fanout_delivers_again_and_is_refused_while_it_runs(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    running = Service(broker.bootstrap, prefix, tmp_path)
    await running.cli("topics", "apply")

    async def lag() -> int:
        return sum(each["lag"] for each in await running.cli("groups", "show", "fanout", "-o", "json"))

    async def reset(*words: str, expect: int = 0) -> Any:
        return await running.cli("groups", "reset", "fanout", *words, "-o", "json", expect=expect)

    await running.start()
    async with inbox() as (box, base), producer(broker.bootstrap) as kafka:
        await running.add(f"{base}/standard")
        for number in range(EVENTS):
            event = {"type": "a.b", "id": f"evt_{number}", "data": {"n": number}}
            await kafka.send_and_wait(f"{prefix}events.raw", json.dumps(event).encode(), key=b"k%d" % number)
        await box.until(lambda: len(box.received) == EVENTS)
        rows = {(each["role"], each["topic"]): each for each in await running.cli("groups", "show", "-o", "json")}
        fanout = rows["fanout", f"{prefix}events.raw"]
        assert (fanout["state"], fanout["members"], fanout["group"]) == ("Stable", 1, f"{prefix}hookstream.fanout")
        assert rows["dispatch", f"{prefix}deliveries"]["members"] == 1
        assert len([each for each in rows if each[0] == "delay"]) == 8

        planned = await reset("--to-datetime", "begin", "--dry-run")
        refused = await reset("--to-datetime", "begin", expect=3)
        assert "refused (conflict)" in refused and "has 1 member (" in refused and "role fanout" in refused
        await commit_beside_the_members(broker.bootstrap, prefix)
        assert await running.stop() == 0
        assert await lag() == 0
        planned = await reset("--to-datetime", "begin", "--dry-run")
        assert (planned["again"], planned["skipped"], planned["dry_run"]) == (EVENTS, 0, True)
        assert await lag() == 0, "a dry run changes nothing"
        assert (await reset("--to-datetime", "now"))["partitions"] == []
        done = await reset("--to-datetime", "begin")
        assert done["partitions"] == planned["partitions"] and await lag() == EVENTS
        back = await reset("--to-datetime", "now", expect=3)
        assert f"{EVENTS} records" in back and "--allow-skip" in back and await lag() == EVENTS

        box.received.clear()
        await running.start()
        await box.until(lambda: {each.event_id for each in box.received} == {f"evt_{n}" for n in range(EVENTS)})
        assert all("webhook-replay" in each.headers for each in box.received)
        assert await running.stop() == 0
