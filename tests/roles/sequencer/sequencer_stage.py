"""A sequencer with everything around it in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay, ReplayState
from app.core.records import delivery as delivery_record
from app.core.records.ordered import RESUMED, GateState, SettledAs, comes_back, settlement, step
from app.roles.sequencer.role.worker import SequencerRole
from tests.fakes.clock import FakeClock
from tests.fakes.feed import MemoryFeed
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.stream import MemoryPartition, MemoryStreamApp


def endpoint(**fields: Any) -> Endpoint:
    return Endpoint(
        id="ep",
        tenant="default",
        mode="live",
        url="https://x.example/",
        events=("*",),
        profile="standard",
        ordering="fifo",
        **fields,
    )


class Stage:
    """A sequencer with everything around it in memory; a test supplies the records of deliveries.ordered."""

    def __init__(self, **fields: Any) -> None:
        self.clock = FakeClock()
        self.log = MemoryLog(self.clock)
        self.feed = MemoryFeed(endpoint(**fields))
        self.partition = MemoryPartition(2)
        self.records: list[MemoryRecord] = []
        self.start()

    def start(self) -> None:
        self.app = MemoryStreamApp()
        role = SequencerRole(
            app=lambda: self.app,
            producer=self.log,
            feed=self.feed,
            meter=PrometheusMeter(),
            deliveries="deliveries",
            ordered="deliveries.ordered",
            dead="deliveries.dead",
            max_record_bytes=1_000_000,
            clock=self.clock,
        )
        self.running = asyncio.create_task(role.run())

    async def stop(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def _record(self, headers: list[tuple[str, bytes]], value: bytes | None, at_ms: int) -> MemoryRecord:
        record = MemoryRecord("deliveries.ordered", 2, len(self.records), at_ms, b"ep", value, headers)
        self.records.append(record)
        return record

    def arrival(self, name: str, key: str = "k", at_ms: int = 0, *, resumed: bool = False) -> MemoryRecord:
        headers = delivery_record.encode(_delivery(name, key))
        return self._record([*headers, RESUMED] if resumed else headers, name.encode(), at_ms)

    def returned(self, name: str, offset: int, *, attempts: int = 0, key: str = "k") -> MemoryRecord:
        """Dispatch returns a delivery because its endpoint is paused."""
        delivery = _delivery(name, key, attempts=attempts, arrival=offset)
        return self._record([*delivery_record.encode(delivery), *comes_back(offset)], name.encode(), 0)

    def step(self, to: GateState, resume_run: str = "") -> MemoryRecord:
        return self._record(step(to, resume_run), None, 0)

    def resume(self, state: ReplayState) -> None:
        """Make the endpoint active, with a resume in this state."""
        self.feed.directory.put_endpoint(endpoint())
        self.feed.directory.put_replay(
            Replay(id="rpl", tenant="t", mode="live", endpoint_id="ep", reason="resume", begin={}, end={}, state=state)
        )

    def settled(self, offset: int, outcome: SettledAs = "delivered", key: str = "k", at_ms: int = 0) -> MemoryRecord:
        return self._record(settlement(offset, outcome, key), None, at_ms)

    async def give(self, *records: MemoryRecord) -> None:
        await self.app.acked(self.app.give(self.partition, *records))

    def released(self) -> list[tuple[str | None, str | None]]:
        """(delivery, arrival)"""
        return [(each.header("delivery-id"), each.header("arrival")) for each in self.log.of("deliveries")]

    def dead(self) -> list[tuple[str | None, str | None]]:
        return [(each.header("delivery-id"), each.header("reason")) for each in self.log.of("deliveries.dead")]


def _delivery(name: str, key: str, **fields: Any) -> Delivery:
    return Delivery(
        id=name,
        endpoint_id="ep",
        event_id=name,
        event_type="a.b",
        tenant="acme",
        mode="live",
        created_at="2026-01-01T00:00:00Z",
        body=b"",
        ordering_key=key,
        **fields,
    )
