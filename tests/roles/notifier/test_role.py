"""The notifier on fakes: who is written to and when, what is finished when, and who waits for nobody."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.adapters.mail.renderer import TemplateRenderer
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.model.endpoint import Endpoint
from app.core.model.tenant import Tenant
from app.core.records.notice import Notice
from app.core.topics.names import TopicName
from app.ports.mail import OutgoingEmail, SmtpResult
from app.roles.notifier.digest import EmailPace
from app.roles.notifier.role import NotifierRole
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock, Pulse, settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog
from tests.fakes.source import MemoryGroup

TOPICS = topics_of(Settings(topic_prefix="", partitions=1, replication_factor=1))
PLACE = (TopicName.NOTICES, 0)


class MemoryMailer:
    """`app.ports.mail.Mailer` with answers for addresses, one after the other; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str]] = defaultdict(lambda: ["sent"])
        self.tried: list[OutgoingEmail] = []
        self.held: asyncio.Event | None = None
        self.pulse = Pulse()

    async def send(self, mail: OutgoingEmail) -> SmtpResult:
        self.tried.append(mail)
        self.pulse.beat()
        if self.held is not None:
            await self.held.wait()
        answers = self.answers[mail.to]
        result: Any = answers.pop(0) if len(answers) > 1 else answers[0]
        return SmtpResult(result, "")

    def to(self, address: str) -> list[OutgoingEmail]:
        return [each for each in self.tried if each.to == address]


class Stage:
    """A notifier with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock, partitions=1)
        self.group = MemoryGroup(self.log, [TopicName.NOTICES], self.clock)
        self.feed = MemoryFeed()
        self.mailer = MemoryMailer()
        self.meter = PrometheusMeter()
        self.running: asyncio.Task[None] | None = None
        self.tenant("acme", "a@acme.example")

    def tenant(self, name: str, *addresses: str) -> None:
        self.feed.directory.put_tenant(Tenant(id=name, notify_emails=addresses))

    async def start(self) -> None:
        self.source = self.group.member()
        role = NotifierRole(
            source=self.source,
            producer=self.log,
            feed=self.feed,
            mailer=self.mailer,
            writer=TemplateRenderer(),
            link=lambda tenant, address: f"https://x.example/{tenant}/{address}",
            topics=TOPICS,
            clock=self.clock,
            meter=self.meter,
            pace=EmailPace(digest_s=10, cooldown_s=900),
        )
        self.role = role
        self.running = asyncio.create_task(role.run())
        await settle()
        await self.source.assign(PLACE)

    async def stop(self) -> None:
        self.clock.auto = True
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        self.clock.auto = False

    def put(self, number: int, tenant: str = "acme", kind: Any = "endpoint.disabled") -> None:
        notice = Notice(
            id=f"ntc_{number}",
            tenant=tenant,
            mode="live",
            kind=kind,
            at="2026-01-01T00:00:00Z",
            endpoint_id=f"ep_{number}",
            summary=f"number {number}",
            data={"url": "https://x.example/"},
        )
        self.log.put(TopicName.NOTICES, key=tenant.encode(), value=msgspec.json.encode(notice))

    async def after(self, seconds: float) -> None:
        await settle()
        await self.clock.advance(seconds)
        await settle()

    async def offset(self) -> int:
        await self.after(0.5)
        return self.group.offset(PLACE) or 0


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    await made.start()
    yield made
    await made.stop()


async def test_notices_gather_for_one_email_and_the_next_one_waits_for_the_cooldown(stage: Stage) -> None:
    stage.put(1)
    await stage.after(5)
    stage.put(2)
    await stage.after(4)
    assert stage.mailer.tried == [] and await stage.offset() == 0
    await stage.after(1)
    (mail,) = stage.mailer.tried
    assert "number 1" in mail.text and "number 2" in mail.text and "number 1" in mail.html
    assert mail.unsubscribe == "https://x.example/acme/a@acme.example"
    assert await stage.offset() == 2
    stage.put(3)
    await stage.after(800)
    assert len(stage.mailer.tried) == 1 and await stage.offset() == 2
    await stage.after(110)
    assert len(stage.mailer.tried) == 2 and "number 1" not in stage.mailer.tried[1].text
    assert await stage.offset() == 3


async def test_a_refused_address_is_skipped_and_the_others_get_the_email(stage: Stage) -> None:
    stage.tenant("acme", "a@acme.example", "b@acme.example", "c@acme.example")
    stage.mailer.answers["b@acme.example"] = ["refused"]
    stage.put(1)
    await stage.after(11)
    assert sorted(each.to[0] for each in stage.mailer.tried) == ["a", "b", "c"]
    assert await stage.offset() == 1
    assert b'emails_total{result="refused"} 1.0' in stage.meter.exposition()


async def test_an_outage_is_retried_for_days_without_sending_an_email_twice(stage: Stage) -> None:
    stage.tenant("acme", "a@acme.example", "b@acme.example")
    stage.mailer.answers["b@acme.example"] = [*["later"] * 60, "sent"]
    stage.put(1)
    await stage.after(11)
    for _ in range(60):
        assert await stage.offset() == 0
        await stage.clock.doze(3600)
    assert len(stage.mailer.to("a@acme.example")) == 1
    tries = stage.mailer.to("b@acme.example")
    assert len(tries) == 61 and len({each.id for each in tries}) == 1
    assert await stage.offset() == 1


async def test_an_email_is_given_up_after_five_days(stage: Stage) -> None:
    stage.mailer.answers["a@acme.example"] = ["later"]
    stage.put(1)
    await stage.after(11)
    for _ in range(130):
        await stage.clock.doze(3600)
    assert await stage.offset() == 1
    assert b'emails_total{result="given_up"} 1.0' in stage.meter.exposition()


async def test_tenants_do_not_wait_for_each_other(stage: Stage) -> None:
    stage.tenant("other", "x@other.example")
    stage.mailer.answers["a@acme.example"] = ["later"]
    for number in range(3):
        stage.put(number)
        stage.put(10 + number, "other")
    await stage.after(11)
    assert len(stage.mailer.to("x@other.example")) == 1
    stage.put(20, "other")
    await stage.after(1000)
    assert len(stage.mailer.to("x@other.example")) == 2
    assert await stage.offset() == 0, "acme's first one is open"


async def test_a_restart_sends_no_email_twice(stage: Stage) -> None:
    stage.tenant("other", "x@other.example")
    stage.mailer.answers["a@acme.example"] = ["later"]
    stage.put(1)
    stage.put(2, "other")
    await stage.after(11)
    assert await stage.offset() == 0
    await stage.stop()
    stage.mailer.answers["a@acme.example"] = ["sent"]
    await stage.start()
    await stage.after(11)
    assert len(stage.mailer.to("x@other.example")) == 1, "the commit's metadata knows"
    assert [each.id for each in stage.mailer.to("a@acme.example")] == [stage.mailer.to("a@acme.example")[0].id] * 2
    assert await stage.offset() == 2


async def test_an_unsubscribed_address_gets_no_retries(stage: Stage) -> None:
    stage.mailer.answers["a@acme.example"] = ["later"]
    stage.put(1)
    await stage.after(11)
    stage.tenant("acme")
    await stage.after(31)
    assert len(stage.mailer.tried) == 1 and await stage.offset() == 1


async def test_unreadable_notices_and_tenants_without_addresses_are_finished_at_once(stage: Stage) -> None:
    stage.put(1, "nobody")
    for value in (None, b"", b"{}", b"[" * 9000):
        stage.log.put(TopicName.NOTICES, key=b"x", value=value)
    assert await stage.offset() == 5
    assert stage.mailer.tried == []
    assert b'records_unreadable_total{topic="notices"} 4.0' in stage.meter.exposition()


async def test_an_endpoint_that_subscribes_to_notices_gets_them_as_events(stage: Stage) -> None:
    stage.put(1)
    await stage.after(0)
    assert stage.log.of(TopicName.EVENTS_RAW) == [], "nobody asks for it"
    for number, pattern in enumerate(("*", "hookstream.*")):
        stage.feed.directory.put_endpoint(
            Endpoint(
                id=f"ep{number}",
                tenant="acme",
                mode="live",
                url="https://x.example",
                events=(pattern,),
                profile="standard",
            )
        )
    assert [each.id for each in stage.feed.directory.match("acme", "live", "hookstream.endpoint.disabled")] == ["ep1"]
    stage.put(2)
    (record,) = await stage.log.seen(TopicName.EVENTS_RAW, 1)
    event = json.loads(record.value or b"")
    assert (event["type"], event["id"], event["data"]["endpoint_id"]) == (
        "hookstream.endpoint.disabled",
        "ntc_2",
        "ep_2",
    )
    assert (record.header("tenant"), record.header("mode")) == ("acme", "live")


async def test_deliberate_waiting_does_not_count_as_stuck(stage: Stage) -> None:
    stage.put(1)
    await stage.after(0)
    (progress,) = stage.role.report().places.values()
    assert progress.low == 0 and progress.waits_until_s is not None
    assert progress.waits_until_s > stage.clock.monotonic()
    await stage.after(11)
    (progress,) = stage.role.report().places.values()
    assert (progress.low, progress.waits_until_s) == (1, None)
