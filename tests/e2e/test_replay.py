"""Replays of a time range: which events are delivered, to whom, and what is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from app.core.model.timestamps import iso
from tests.conftest import RealBroker
from tests.e2e.harness import Service, inbox, pause, producer, read
from tests.e2e.replay_party import CLOCK, Party, again, names, party_of


@pytest_asyncio.fixture
async def kafka(broker: RealBroker) -> AsyncIterator[AIOKafkaProducer]:
    async with producer(broker.bootstrap) as client:
        yield client


@pytest_asyncio.fixture
async def acme(shared: Service, kafka: AIOKafkaProducer) -> Party:
    return await party_of(shared, kafka)


async def test_all_failed_and_missing_of_one_endpoint_and_of_all(acme: Party) -> None:
    async with inbox() as (good, good_url), inbox("status:500*3,200") as (bad, bad_url), inbox() as (new, new_url):
        first = await acme.endpoint(f"{good_url}/standard")
        second = await acme.endpoint(f"{bad_url}/standard", schedule=[0], max_in_flight=1)
        events = names(6)
        await acme.append(events)
        await acme.append(events[:2])  # a producer's duplicates stay dropped
        await good.until(lambda: len(good.received) == 6)
        await bad.until(lambda: len(bad.received) == 6)
        for each in (first, second):
            await acme.attempted(each, 6)
        died = {each.event_id for each in bad.received if each.status == 500}
        assert len(died) == 3
        third = await acme.endpoint(f"{new_url}/standard")
        trials = {only: await acme.replay(only=only, dry_run=True) for only in ("all", "failed", "missing")}
        counted = {only: trial["counted"]["endpoints"] for only, trial in trials.items()}
        assert counted == {
            "all": {first: 6, second: 6, third: 6},
            "failed": {second: 3},
            "missing": {third: 6},
        }
        assert [(each["id"], each["state"], each["messages"]) for each in trials.values()] == [
            (None, "counted", [])
        ] * 3
        assert (await acme.service.ask("GET", "/v1/replays", key=acme.live)).body["data"] == [], "a trial is no replay"
        sequences = {each.event_id: each.headers["webhook-sequence"] for each in good.received}

        failed = await acme.run(only="failed")
        assert (failed["sent"], failed["skipped"], failed["endpoint"], failed["to"] is None) == (3, 0, None, False)
        await bad.until(lambda: len(again(bad)) == 3)
        await acme.attempted(second, 9)
        assert {each.event_id for each in again(bad)} == died
        missing = await acme.run(only="missing")
        await new.until(lambda: len(new.received) == 6)
        await acme.attempted(third, 6)
        assert missing["sent"] == 6
        assert {each.event_id: each.headers["webhook-sequence"] for each in new.received} == sequences
        assert {each.headers["webhook-replay"] for each in new.received} == {missing["id"]}
        assert (await acme.replay(only="failed", dry_run=True))["counted"]["deliveries"] == 0
        assert (await acme.replay(only="missing", dry_run=True))["counted"]["deliveries"] == 0

        whole = await acme.run()
        assert whole["sent"] == 18 and whole["progress"]["read"] == whole["progress"]["of"]
        one = await acme.run(endpoint=first)
        assert one["sent"] == 6 and one["endpoint"] == first
        await good.until(lambda: len(again(good)) == 12)
        assert Counter(each.event_id for each in again(good)) == dict.fromkeys(events, 2)


async def test_filters_decide_about_live_events_replays_and_dry_runs(acme: Party) -> None:
    async with inbox() as (every, every_url), inbox() as (large, large_url):
        await acme.endpoint(f"{every_url}/standard")
        filtered = await acme.endpoint(f"{large_url}/standard", filter={"data": {"total": {"$gte": 100}}})
        await acme.append(["small"], data={"total": 5})
        await acme.append(["large"], data={"total": 500})
        await every.until(lambda: len(every.received) == 2)
        await large.until(lambda: len(large.received) == 1)
        assert large.received[0].event_id == "large"

        records = await read(
            acme.service.bootstrap,
            f"{acme.service.prefix}events.raw",
            lambda all_records: any(
                acme.name.encode() == each.key and b'"small"' in each.value for each in all_records
            ),
        )
        (record,) = [each for each in records if each.key == acme.name.encode() and b'"small"' in each.value]
        place = f"partition={record.partition}&offset={record.offset}"
        story = (await acme.service.ask("GET", f"/v1/events/small?{place}", key=acme.live)).body
        (reason,) = [each for each in story["endpoints"] if each["endpoint"] == filtered]
        assert (reason["why"], "data.total is 5" in reason["explanation"]) == ("filtered", True)

        counted = (await acme.replay(endpoint=filtered, dry_run=True))["counted"]
        assert (counted["deliveries"], counted["filtered"]) == (1, 1)
        assert (await acme.run(endpoint=filtered))["sent"] == 1
        await large.until(lambda: len(large.received) == 2)
        assert {each.event_id for each in large.received} == {"large"}

        trial = {"filter": {"data": {"total": {"$gte": 100}}}, "event": {"type": "a.b", "data": {"total": 5}}}
        answer = await acme.service.ask("POST", "/v1/filters/test", trial, key=acme.live)
        assert (answer.status, answer.body["failed"]["pointer"]) == (200, "/data/total/$gte")


async def test_types_and_times_narrow_it(acme: Party) -> None:
    async with inbox() as (box, url):
        await acme.endpoint(f"{url}/standard")
        await acme.append(names(3, "old"), type="a.b.c")
        await box.until(lambda: len(box.received) == 3)
        await pause(0.01)
        between = CLOCK.now_ms()
        await pause(0.01)
        await acme.append(names(2, "new"), type="a.c")
        await acme.append(names(2, "last"), type="b")
        await box.until(lambda: len(box.received) == 7)
        moment = iso(between)
        for body, number in (
            ({"types": ["a.*"]}, 5),
            ({"types": ["a.b.c", "b"]}, 5),
            ({"types": ["a"]}, 0),
            ({"from_": moment}, 4),
            ({"to": moment}, 3),
            ({"from_": "1h", "to": moment, "types": ["b"]}, 0),
        ):
            assert (await acme.replay(dry_run=True, **body))["counted"]["deliveries"] == number, body
        done = await acme.run(from_=moment, types=["a.*"])
        await box.until(lambda: len(again(box)) == 2)
        assert done["sent"] == 2 and {each.event_id for each in again(box)} == set(names(2, "new"))


async def test_a_key_sees_its_own_tenant_and_the_operator_names_one(acme: Party, kafka: AIOKafkaProducer) -> None:
    other = await party_of(acme.service, kafka)
    async with inbox() as (box, url), inbox() as (foreign, foreign_url):
        mine = await acme.endpoint(f"{url}/standard")
        theirs = await other.endpoint(f"{foreign_url}/standard")
        await acme.append(names(2))
        await acme.append(names(3, "t"), mode="test")
        await other.append(names(4))
        await box.until(lambda: len(box.received) == 2)
        await foreign.until(lambda: len(foreign.received) == 4)
        answer = await acme.ask(endpoint=theirs)
        assert answer.status == 422 and answer.body["errors"][0]["pointer"] == "/endpoint"
        nobody = await acme.ask(endpoint="ep_none")
        assert nobody.body["detail"].replace("ep_none", theirs) == answer.body["detail"]
        assert (await acme.ask(key=acme.test, endpoint=mine)).status == 422, "the other mode's"
        assert (await acme.replay(dry_run=True))["counted"]["endpoints"] == {mine: 2}
        assert (await acme.ask(key=acme.test, dry_run=True)).body["counted"]["endpoints"] == {}
        made = await acme.run()
        await box.until(lambda: len(again(box)) == 2)
        for key in (other.live, acme.test):
            for method, path in (
                ("GET", ""),
                ("POST", "/cancel"),
                ("POST", "/pause"),
                ("POST", "/resume"),
            ):
                found = await acme.service.ask(method, f"/v1/replays/{made['id']}{path}", key=key)
                assert found.status == 404
        assert not again(foreign)
        # the operator's token belongs to nobody, and names whom it means
        assert (await acme.service.ask("GET", "/v1/replays")).status == 403
        listed = await acme.service.ask("GET", "/v1/replays", headers={"Hookstream-Tenant": other.name})
        assert listed.body["data"] == []
        said = await acme.service.cli(
            "replay",
            "list",
            "--tenant",
            acme.name,
            "--url",
            acme.service.api_url,
            "--key",
            acme.service.environ["HOOKSTREAM_ADMIN_TOKEN"],
            "-o",
            "json",
        )
        assert [each["id"] for each in said] == [made["id"]]
        wrong = await acme.service.ask("GET", "/v1/replays", key=acme.live, headers={"Hookstream-Tenant": other.name})
        assert wrong.status == 403


async def test_a_key_of_idempotency_makes_one_replay(acme: Party) -> None:
    async with inbox() as (box, url):
        await acme.endpoint(f"{url}/standard")
        await acme.append(names(2))
        await box.until(lambda: len(box.received) == 2)
        made = [
            await acme.service.ask(
                "POST", "/v1/replays", {"from": "begin"}, key=acme.live, headers={"Idempotency-Key": "once"}
            )
            for _ in range(2)
        ]
        assert made[0].body["id"] == made[1].body["id"]
        await acme.until(made[0].body["id"], "done")
        await box.until(lambda: len(again(box)) == 2)
        other = await acme.service.ask(
            "POST", "/v1/replays", {"from": "1h"}, key=acme.live, headers={"Idempotency-Key": "once"}
        )
        assert other.status == 422


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"from": "2099-01-01T00:00:00Z"}, "/from"),
        ({"from": "1h", "to": "2h"}, "/to"),
        ({"from": "soon"}, "/from"),
        ({"from": "begin", "types": ["a b"]}, "/types"),
        ({"from": "begin", "rate": 0}, "/rate"),
        ({}, "/from"),
    ],
)
async def test_invalid_replays_are_refused(shared: Service, body: dict[str, Any], pointer: str) -> None:
    answer = await shared.ask("POST", "/v1/replays", body, headers={"Hookstream-Tenant": "anybody"})
    assert answer.status == 422 and answer.body["errors"][0]["pointer"] == pointer, answer


async def test_the_command_refuses_invalid_input_without_a_request(shared: Service) -> None:
    said = await asyncio.gather(
        shared.cli("replay", "start", "--from", "2099-01-01T00:00:00Z", expect=2),
        shared.cli("replay", "start", "--from", "1h", "--to", "2h", expect=2),
    )
    assert [str(each).partition(":")[0] for each in said] == ["--from", "--to"]
