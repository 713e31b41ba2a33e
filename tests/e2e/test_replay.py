"""A span of time once more: what is chosen, for whom, how fast, and what interrupts it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from app.adapters.clock import SystemClock
from app.core.model.timestamps import iso
from tests.conftest import RealBroker
from tests.e2e.harness import Answer, Inbox, Service, inbox, pause, producer, read
from tests.patience import PATIENCE_S

CLOCK = SystemClock()


class Party:
    """A tenant of the shared service, with its keys."""

    def __init__(self, service: Service, name: str, live: str, test: str, kafka: AIOKafkaProducer) -> None:
        self.service = service
        self.name = name
        self.live = live
        self.test = test
        self._kafka = kafka

    async def endpoint(self, url: str, **more: Any) -> str:
        body = {"url": url, "events": ["*"], **more}
        answer = await self.service.ask("POST", "/v1/webhooks", body, key=self.live)
        assert answer.status == 201, answer
        return str(answer.body["id"])

    async def act(self, endpoint: str, action: str) -> None:
        answer = await self.service.ask("POST", f"/v1/webhooks/{endpoint}/{action}", key=self.live)
        assert answer.status == 200, answer

    async def append(self, names: Iterable[str], **more: Any) -> None:
        acks = []
        for name in names:
            event = {"type": "a.b", "id": name, "data": {}, "tenant": self.name, "ordering_key": self.name, **more}
            value = json.dumps(event).encode()
            acks.append(await self._kafka.send(f"{self.service.prefix}events.raw", value, key=self.name.encode()))
        await asyncio.gather(*acks)

    async def ask(self, key: str = "", **body: Any) -> Answer:
        sent = {("from" if name == "from_" else name): value for name, value in ({"from_": "begin"} | body).items()}
        return await self.service.ask("POST", "/v1/replays", sent, key=key or self.live)

    async def replay(self, **body: Any) -> dict[str, Any]:
        answer = await self.ask(**body)
        assert answer.status == 202, answer
        made: dict[str, Any] = answer.body
        return made

    async def do(self, replay: str, action: str) -> dict[str, Any]:
        answer = await self.service.ask("POST", f"/v1/replays/{replay}/{action}", key=self.live)
        assert answer.status == 200, answer
        done: dict[str, Any] = answer.body
        return done

    async def until(self, replay: str, *states: str) -> dict[str, Any]:
        """The replay, once it has one of these states."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found: dict[str, Any] = (await self.service.ask("GET", f"/v1/replays/{replay}", key=self.live)).body
                if found["state"] in states:
                    return found
                await pause(0.05)  # the API has no other way

    async def run(self, **body: Any) -> dict[str, Any]:
        """A replay from its beginning to its end."""
        return await self.until((await self.replay(**body))["id"], "done")


def names(count: int, prefix: str = "e") -> list[str]:
    return [f"{prefix}{number:04}" for number in range(count)]


@pytest_asyncio.fixture
async def kafka(broker: RealBroker) -> AsyncIterator[AIOKafkaProducer]:
    async with producer(broker.bootstrap) as client:
        yield client


async def party_of(service: Service, kafka: AIOKafkaProducer) -> Party:
    name = f"t{token_hex(3)}"
    return Party(service, name, await service.key(name), await service.key(name, "test"), kafka)


@pytest_asyncio.fixture
async def acme(shared: Service, kafka: AIOKafkaProducer) -> Party:
    return await party_of(shared, kafka)


def again(box: Inbox) -> list[Any]:
    """What came in replays."""
    return [each for each in box.received if "webhook-replay" in each.headers]


async def test_all_failed_and_missing_of_one_endpoint_and_of_all(acme: Party) -> None:
    async with inbox() as (good, good_url), inbox("status:500*3,200") as (bad, bad_url), inbox() as (new, new_url):
        first = await acme.endpoint(f"{good_url}/standard")
        second = await acme.endpoint(f"{bad_url}/standard", schedule=[0], max_in_flight=1)
        events = names(6)
        await acme.append(events)
        await acme.append(events[:2])  # a producer's duplicates stay dropped
        await good.until(lambda: len(good.received) == 6)
        await bad.until(lambda: len(bad.received) == 6)
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
        assert {each.event_id for each in again(bad)} == died
        missing = await acme.run(only="missing")
        await new.until(lambda: len(new.received) == 6)
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


async def test_a_tenant_gets_its_own_and_the_operator_names_one(acme: Party, kafka: AIOKafkaProducer) -> None:
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
        ({}, ""),
    ],
)
async def test_what_makes_no_sense_is_refused(shared: Service, body: dict[str, Any], pointer: str) -> None:
    answer = await shared.ask("POST", "/v1/replays", body, headers={"Hookstream-Tenant": "anybody"})
    assert answer.status == 422 and answer.body["errors"][0]["pointer"] == pointer, answer


async def test_the_command_refuses_it_before_it_asks_anybody(shared: Service) -> None:
    said = await asyncio.gather(
        shared.cli("replay", "start", "--from", "2099-01-01T00:00:00Z", expect=2),
        shared.cli("replay", "start", "--from", "1h", "--to", "2h", expect=2),
    )
    assert [str(each).partition(":")[0] for each in said] == ["--from", "--to"]


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
        made = await acme.replay(rate=40)
        await box.until(lambda: len(again(box)) >= 8)
        assert (await acme.do(made["id"], "pause"))["state"] == "paused"
        await pause(1.2)
        stood = len(again(box))
        assert stood < 40
        await pause(0.5)
        assert len(again(box)) == stood, "nothing more comes"
        assert (await acme.do(made["id"], "resume"))["state"] in ("running", "pending")
        done = await acme.until(made["id"], "done")
        await box.until(lambda: len(again(box)) == 40)
        assert done["sent"] == 40 and len({each.event_id for each in again(box)}) == 40
        second = await acme.replay(rate=2)
        await box.until(lambda: len(again(box)) >= 44)
        assert (await acme.do(second["id"], "cancel"))["state"] == "cancelled"
        await pause(0.5)
        stood = len(again(box))
        await pause(0.5)
        assert stood == len(again(box)) < 80
        assert (await acme.do(second["id"], "resume"))["state"] == "cancelled"


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
    assert "in the future: ends now" in late and "no longer kept" in forgotten
    environ = ["--url", acme.service.api_url, "--key", acme.live]
    said = await acme.service.cli("replay", "start", "--from", "3h", *environ, "-o", "json")
    assert said["state"] == "done" and said["sent"] == 2 and "begins there" in said["messages"][0]
    shown = await acme.service.cli("replay", "show", said["id"], *environ, "-o", "json")
    assert shown["messages"] == said["messages"], "the replay remembers"
