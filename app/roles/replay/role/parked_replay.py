"""The work of a resume: parked deliveries are appended oldest first, and ordered ones stay in sequence.

For an ordered endpoint the sequencer parks arrivals while the resume appends the parked ones. When the resume has
caught up, it has the sequencer hold arrivals instead, appends the rest, and has the gate opened.
"""

from __future__ import annotations

import asyncio

from app.core.records import dead_letter, ordered
from app.core.records.headers import RecordHeader
from app.core.records.ordered import RESUMED, GateState
from app.core.records.record import ConsumedRecord
from app.core.topics.names import TopicName
from app.ports.history import PartitionReader
from app.roles.replay import eligibility, merge
from app.roles.replay.role.appender import PacedAppender, ReplayedDelivery, StopReplay
from app.roles.replay.role.selector import POLL_MS, POLLED

#: seconds within which deliveries that were in flight at the resume have been parked
_QUIET_S = 2.0
#: seconds between two checks for more parked deliveries
_POLL_S = 0.2
#: seconds for opening the gate of a run that is cancelled
_OPEN_S = 1.0


class ParkedReplay:
    """Work on a replay with the reason `resume`."""

    def __init__(self, appender: PacedAppender) -> None:
        self._appender = appender
        self._context = appender.context
        self._clock = appender.context.clock
        self._number = appender.context.sources.partition_of(appender.replay.endpoint_id)
        self._key = appender.replay.endpoint_id.encode()
        self._dead = appender.context.topics.name(TopicName.DELIVERIES_DEAD)
        self._ordered = False

    async def run(self) -> None:
        """Work until no parked deliveries follow. Raises `StopReplay`."""
        self._ordered = self._appender.endpoint().ordering == "fifo"
        start = max(self._appender.done.get(self._number, 0), self._appender.replay.dead_begin or 0)
        queue = merge.OldestFirstQueue(start, as_written=self._ordered)
        reading = await self._context.reader.open(self._dead, {self._number: start})
        try:
            if self._ordered:
                await self._behind_a_gate(queue, reading)
            else:
                await self._until_quiet(queue, reading)
        finally:
            await reading.close()

    async def _until_quiet(self, queue: merge.OldestFirstQueue, reading: PartitionReader) -> None:
        # All was read when the end of the log was queried after a quiet time, and everything up to it was read.
        last_s = queried_s = self._clock.monotonic()
        end = await self._dead_end()
        while True:
            if await self._append_until(queue, reading, end):
                last_s = self._clock.monotonic()
            if self._appender.endpoint().ordering == "fifo":
                raise StopReplay("parked")  # and begin again, in order
            if queried_s >= last_s + _QUIET_S:
                return
            await self._clock.sleep(last_s + _QUIET_S - self._clock.monotonic())
            queried_s, end = self._clock.monotonic(), await self._dead_end()

    async def _behind_a_gate(self, queue: merge.OldestFirstQueue, reading: PartitionReader) -> None:
        gate = GateClient(self._appender)
        try:
            await gate.send("parking")
            # deliveries without an ordering key are parked by dispatch, as for other endpoints
            quiet_s = self._clock.monotonic() + _QUIET_S
            while True:
                at_s, until = self._clock.monotonic(), self._until()
                await self._append_until(queue, reading, await self._dead_end())
                if until is not None:
                    return  # the next resume appends the rest and opens the gate
                if at_s >= quiet_s:
                    break
                await self._clock.sleep(_POLL_S)
            await gate.wait_until_read(await gate.send("holding"))
            await self._append_until(queue, reading, await self._dead_end())
            if self._until() is None:
                await gate.wait_until_read(await gate.send("open"))
        except (StopReplay, asyncio.CancelledError):
            try:
                async with asyncio.timeout(_OPEN_S):
                    await gate.open_if_abandoned()
            except TimeoutError:
                pass  # the sequencer opens it by itself, a little later
            raise

    async def _append_until(self, queue: merge.OldestFirstQueue, reading: PartitionReader, end: int) -> bool:
        """Append everything that was parked before `end`; returns whether there was anything."""
        appended = False
        while True:
            await self._read_ahead(queue, reading, end)
            self._appender.done = {self._number: queue.low}
            if not queue.waiting:
                return appended
            taken = queue.take(await self._appender.wait_for_slots())
            await self._appender.append([self._released(record) for record in taken])
            for record in taken:
                queue.done(record)
            appended = True

    def _until(self) -> int | None:
        return eligibility.parked_until(self._appender.endpoint(), self._appender.replay)

    async def _dead_end(self) -> int:
        end = (await self._context.reader.ends(self._dead, [self._number]))[self._number]
        until = self._until()
        return end if until is None else min(end, until)

    async def _read_ahead(self, queue: merge.OldestFirstQueue, reading: PartitionReader, end: int) -> None:
        until = self._until()
        while not queue.full and queue.position < end:
            self._appender.check_still_wanted()
            batches = await reading.poll((self._number,), timeout_ms=POLL_MS, max_records=POLLED)
            for record in batches.get(self._number, ()):
                if (until is None or record.offset < until) and dead_letter.is_parked(record, self._key):
                    queue.add(record)
            queue.advance_to(await reading.position(self._number))

    def _released(self, record: ConsumedRecord) -> ReplayedDelivery:
        named = dict(record.headers)
        headers = dead_letter.released(record.headers, self._context.feed.position)
        if self._ordered and "ordering-key" in named:
            headers.append(RESUMED)
        delivery_id = named.get("delivery-id") or b""  # dispatch skips a delivery that it cannot decode
        return ReplayedDelivery(
            self._appender.replay.endpoint_id, delivery_id.decode("utf-8", "replace"), headers, record.value
        )


#: seconds between two checks of the sequencer's progress
_CHECK_S = 0.1


class GateClient:
    """Sends the gate steps of one resume run to the sequencer (roles/sequencer/resume_gate.py)."""

    def __init__(self, appender: PacedAppender) -> None:
        self._appender = appender
        self._context = appender.context
        self._endpoint = appender.replay.endpoint_id
        self._number = appender.context.sources.partition_of(self._endpoint)
        self._ordered = appender.context.topics.name(TopicName.DELIVERIES_ORDERED)
        clock = appender.context.clock
        self._name = f"{appender.replay.id}/{clock.now_ms()}/{appender.context.feed.position}"

    async def send(self, to: GateState) -> int:
        """Append a gate step; returns its offset."""
        return await self._append(ordered.step(to, self._name))

    async def _append(self, headers: list[RecordHeader]) -> int:
        ack = await self._context.producer.append(
            self._ordered, key=self._endpoint.encode(), value=None, headers=headers, partition=self._number
        )
        return await ack

    async def wait_until_read(self, offset: int) -> None:
        """Return when the sequencer has processed everything up to `offset`. Raises `StopReplay`."""
        while (await self._context.reader.sequenced()).get(self._number, 0) <= offset:
            self._appender.check_still_wanted()
            await self._context.clock.sleep(_CHECK_S)

    async def open_if_abandoned(self) -> None:
        """Open the gate of a run that ends early, unless the resume continues or another one is to come."""
        if not self._context.feed.directory.has_open_resume(self._endpoint):
            await self._append(ordered.step("open"))
