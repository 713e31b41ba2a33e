"""A dispatch worker with everything around it in memory."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec

from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.secrets.subject_vault import AesSubjectVault
from app.adapters.telemetry.metrics import PrometheusMeter
from app.adapters.telemetry.top_endpoints import TopEndpoints
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.records import delivery as delivery_record
from app.core.topics.names import TopicName
from app.roles.dispatch.lanes import LaneLimits
from app.roles.dispatch.role.worker import DispatchRole
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.fakes.clock import FakeClock, FixedDice, settle
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.sender import ScriptedSender
from tests.fakes.source import MemoryGroup
from tests.fakes.tracer import MemoryTracer

TOPICS = topics_of(Settings(topic_prefix="", partitions=2, replication_factor=1))
KEYRING = AesKeyRing("k1:" + base64.b64encode(bytes(32)).decode())
ZERO, ONE = (TopicName.DELIVERIES, 0), (TopicName.DELIVERIES, 1)
DICE = 0.5
JITTER = 1.05


def url_of(endpoint_id: str) -> str:
    return f"https://{endpoint_id}.example/"


def rung(name: str) -> str:
    return f"{TopicName.DELIVERIES_DELAY}.{name}"


class Stage:
    """A dispatch worker with everything around it in memory."""

    def __init__(
        self,
        limits: LaneLimits | None = None,
        sender: Callable[[FakeClock], ScriptedSender] | None = None,
        tracer: MemoryTracer | None = None,
        top_endpoints: int = 0,
    ) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock, partitions=2)
        self.group = MemoryGroup(self.log, [TopicName.DELIVERIES], self.clock)
        self.source = self.group.member()
        self.sender = sender(self.clock) if sender else ScriptedSender()
        self.feed = MemoryFeed()
        top = TopEndpoints(top_endpoints, self.clock) if top_endpoints else None
        self.meter = PrometheusMeter(top)
        self.role = DispatchRole(
            source=self.source,
            producer=self.log,
            sender=self.sender,
            feed=self.feed,
            keyring=KEYRING,
            topics=TOPICS,
            clock=self.clock,
            dice=FixedDice(DICE),
            meter=self.meter,
            limits=limits or LaneLimits(),
            tracer=tracer,
            endpoint_meter=top,
            subjects=AesSubjectVault(lambda: self.feed.directory.erasures, KEYRING),
        )
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run, with both partitions."""
        self.running = asyncio.create_task(self.role.run())
        await settle()
        await self.source.assign(ZERO, ONE)

    async def stop(self) -> None:
        """Cancel, and let the worker finish at a run."""
        self.clock.auto = True
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
            assert not self.source.running

    def endpoint(self, id_: str, **fields: Any) -> None:
        """An endpoint at a URL of its own, or a new version of it."""
        known = self.feed.directory.endpoint(id_)
        profile = fields.pop("profile", "standard")
        owner = f"acme/{id_}"
        secret = KEYRING.seal("whsec_" + base64.b64encode(bytes(24)).decode(), owner, 0)
        made = Endpoint(
            id=id_,
            tenant="acme",
            mode="live",
            url=url_of(id_),
            events=("*",),
            profile=profile,
            secrets=(secret,),
            version=known.version + 1 if known else 1,
        )
        self.feed.directory.put_endpoint(msgspec.structs.replace(made, **fields))

    def put(self, endpoint_id: str, event: str = "e1", *, partition: int = 0, position: int = 0, **fields: Any) -> None:
        """A delivery for an endpoint."""
        delivery = Delivery(
            id=f"dlv_{event}",
            endpoint_id=endpoint_id,
            event_id=event,
            event_type="a.b",
            tenant="acme",
            mode="live",
            created_at="2026-01-01T00:00:00Z",
            body=b'{"type":"a.b","data":{"n":1}}',
            accepted_at_ms=self.clock.now_ms(),
        )
        delivery = msgspec.structs.replace(delivery, **fields)
        headers = delivery_record.encode(delivery)
        if position:
            headers.append(("registry-position", b"%d" % position))
        self.log.put(
            TopicName.DELIVERIES, key=endpoint_id.encode(), value=delivery.body, headers=headers, partition=partition
        )

    def put_back(self, record: MemoryRecord) -> None:
        """What the delay role does at the due time."""
        self.log.put(
            TopicName.DELIVERIES, key=record.key, value=record.value, headers=record.headers, partition=record.partition
        )

    async def attempts(self, number: int) -> list[dict[str, Any]]:
        """Wait for that many records of `attempts`."""
        return [msgspec.json.decode(record.value or b"") for record in await self.log.seen(TopicName.ATTEMPTS, number)]

    async def offset(self, place: tuple[str, int] = ZERO) -> int:
        """What is committed once the next commit has taken place; nothing counts as 0."""
        await self.clock.advance(0.5)
        return self.group.offset(place) or 0

    def events(self, endpoint_id: str) -> list[str]:
        """The event ids of the requests to an endpoint."""
        return [dict(request.headers)["webhook-id"] for request in self.sender.to(url_of(endpoint_id))]


def delayed(record: MemoryRecord) -> Delivery:
    return delivery_record.decode(record.key, record.value, record.headers)[0]
