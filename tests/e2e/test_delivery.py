"""A producer that knows only Kafka reaches endpoints of several profiles; garbage is put aside and explained."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import RealBroker
from tests.e2e.harness import inbox, producer, read, service


async def test_one_event_reaches_two_profiles_and_garbage_is_rejected(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, base):
        for profile in ("standard", "bota"):
            added = await running.add(f"{base}/{profile}", profile=profile, tenant="acme", events="recording.*")
            box.receiver.register(profile, profile, added["secret"])
        raw = f"{prefix}events.raw"
        event = {"type": "recording.created", "id": "evt_1", "tenant": "acme", "data": {"id": "rec_1", "n": 1.0}}
        async with producer(broker.bootstrap) as kafka:
            await kafka.send_and_wait(raw, json.dumps(event).encode(), key=b"acme")
            await box.until(lambda: len(box.received) == 2)
            await kafka.send_and_wait(raw, b"\x00 not json", key=b"acme")
            await kafka.send_and_wait(raw, b'{"type": "recording.created"}', key=b"acme")
            await kafka.send_and_wait(raw, json.dumps(event | {"id": "evt_2"}).encode(), key=b"acme")
            await box.until(lambda: len(box.received) == 4)
        assert {(each.profile, each.verified, each.event_id) for each in box.received} == {
            (profile, True, event_id) for profile in ("standard", "bota") for event_id in ("evt_1", "evt_2")
        }
        rejected = await read(broker.bootstrap, f"{prefix}events.rejected", lambda records: len(records) == 2)
        first, second = ({name: value.decode() for name, value in record.headers} for record in rejected)
        assert rejected[0].value == b"\x00 not json"
        assert first["rejected-reason"] == "not_json" and first["rejected-topic"] == raw
        assert second["rejected-reason"] == "not_an_event" and "data" in second["rejected-detail"]


async def test_cloudevents_arrive_both_ways(broker: RealBroker, prefix: str, tmp_path: Path) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, base):
        added = await running.add(f"{base}/standard", tenant="default")
        box.receiver.register("standard", "standard", added["secret"])
        structured = {
            "specversion": "1.0",
            "id": "ce-1",
            "source": "/test",
            "type": "user.created",
            "time": "2026-01-02T03:04:05Z",
            "data": {"n": 1},
        }
        binary = [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"ce-2"),
            ("ce_source", b"/test"),
            ("ce_type", b"user.created"),
            ("content-type", b"application/json"),
        ]
        async with producer(broker.bootstrap) as kafka:
            raw = f"{prefix}events.raw"
            header = [("content-type", b"application/cloudevents+json; charset=utf-8")]
            await kafka.send_and_wait(raw, json.dumps(structured).encode(), key=b"k", headers=header)
            await kafka.send_and_wait(raw, b'{"n": 2}', key=b"k", headers=binary)
            await box.until(lambda: len(box.received) == 2)
        assert {(each.event_id, each.event_type, each.verified) for each in box.received} == {
            ("ce-1", "user.created", True),
            ("ce-2", "user.created", True),
        }


async def test_a_producers_duplicate_is_delivered_once_and_modes_do_not_mix(
    broker: RealBroker, prefix: str, tmp_path: Path
) -> None:
    async with service(broker.bootstrap, prefix, tmp_path) as running, inbox() as (box, base):
        await running.add(f"{base}/standard/live", mode="live")
        await running.add(f"{base}/standard/test", mode="test")
        async with producer(broker.bootstrap) as kafka:
            raw = f"{prefix}events.raw"
            for _ in range(3):
                await kafka.send_and_wait(raw, b'{"type": "a.b", "id": "evt_same", "data": 1}', key=b"k")
            await kafka.send_and_wait(raw, b'{"type": "a.b", "id": "evt_test", "mode": "test", "data": 1}', key=b"k")
            await kafka.send_and_wait(raw, b'{"type": "a.b", "id": "evt_last", "data": 1}', key=b"k")
            await box.until(lambda: "evt_last" in box.ids() and "evt_test" in box.ids())
        assert sorted(box.ids("/standard/live")) == ["evt_last", "evt_same"]
        assert box.ids("/standard/test") == ["evt_test"]
        text = await running.metrics()
        assert 'hookstream_events_ingested_total{result="duplicate"} 2.0' in text
