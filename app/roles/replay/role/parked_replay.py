"""Resume: what a pause has held back goes on, oldest first; what has to be in order overtakes nothing.

For an ordered endpoint the sequencer goes on putting aside what arrives, while the job brings what was put aside.
When the job has caught up it has the sequencer hold what arrives instead, brings the rest, and has the gate opened.
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

#: what was on its way when the endpoint was resumed is put aside within that time
_QUIET_S = 2.0
#: between two looks whether more was put aside
_AGAIN_S = 0.2
#: to have the gate opened when the work ends
_FAREWELL_S = 1.0


class ParkedReplay:
    """Work on a replay with the reason `resume`."""

    def __init__(self, giving: PacedAppender) -> None:
        self._giving = giving
        self._around = giving.around
        self._clock = giving.around.clock
        self._number = giving.around.archive.partition_of(giving.replay.endpoint_id)
        self._key = giving.replay.endpoint_id.encode()
        self._dead = giving.around.topics.name(TopicName.DELIVERIES_DEAD)
        self._ordered = False

    async def run(self) -> None:
        """Until nothing more comes; raises `Leave`."""
        self._ordered = self._giving.endpoint().ordering == "fifo"
        start = max(self._giving.done.get(self._number, 0), self._giving.replay.dead_begin or 0)
        queue = merge.OldestFirstQueue(start, as_written=self._ordered)
        reading = await self._around.reader.open(self._dead, {self._number: start})
        try:
            if self._ordered:
                await self._behind_a_gate(queue, reading)
            else:
                await self._until_quiet(queue, reading)
        finally:
            await reading.close()

    async def _until_quiet(self, queue: merge.OldestFirstQueue, reading: PartitionReader) -> None:
        # What was read up to an end that was asked for when nothing had come for a while was all.
        found_s = asked_s = self._clock.monotonic()
        end = await self._dead_end()
        while True:
            if await self._give(queue, reading, end):
                found_s = self._clock.monotonic()
            if self._giving.endpoint().ordering == "fifo":
                raise StopReplay("parked")  # and begin again, in order
            if asked_s >= found_s + _QUIET_S:
                return
            await self._clock.sleep(found_s + _QUIET_S - self._clock.monotonic())
            asked_s, end = self._clock.monotonic(), await self._dead_end()

    async def _behind_a_gate(self, queue: merge.OldestFirstQueue, reading: PartitionReader) -> None:
        gate = GateClient(self._giving)
        try:
            await gate.say("parking")
            # what is not ordered follows the rule of the other endpoints
            quiet_s = self._clock.monotonic() + _QUIET_S
            while True:
                at_s, until = self._clock.monotonic(), self._until()
                await self._give(queue, reading, await self._dead_end())
                if until is not None:
                    return  # the next resume brings the rest, and opens the gate
                if at_s >= quiet_s:
                    break
                await self._clock.sleep(_AGAIN_S)
            await gate.heard(await gate.say("holding"))
            await self._give(queue, reading, await self._dead_end())
            if self._until() is None:
                await gate.heard(await gate.say("open"))
        except (StopReplay, asyncio.CancelledError):
            try:
                async with asyncio.timeout(_FAREWELL_S):
                    await gate.give_up()
            except TimeoutError:
                pass  # the sequencer does it by itself, a little later
            raise

    async def _give(self, queue: merge.OldestFirstQueue, reading: PartitionReader, end: int) -> bool:
        """Everything that was put aside before `end`; whether there was anything."""
        found = False
        while True:
            await self._read_ahead(queue, reading, end)
            self._giving.done = {self._number: queue.low}
            if not queue.waiting:
                return found
            taken = queue.take(await self._giving.slots())
            await self._giving.append([self._released(record) for record in taken])
            for record in taken:
                queue.done(record)
            found = True

    def _until(self) -> int | None:
        return eligibility.parked_until(self._giving.endpoint(), self._giving.replay)

    async def _dead_end(self) -> int:
        end = (await self._around.reader.ends(self._dead, [self._number]))[self._number]
        until = self._until()
        return end if until is None else min(end, until)

    async def _read_ahead(self, queue: merge.OldestFirstQueue, reading: PartitionReader, end: int) -> None:
        until = self._until()
        while not queue.full and queue.position < end:
            self._giving.look()
            batches = await reading.poll((self._number,), timeout_ms=POLL_MS, max_records=POLLED)
            for record in batches.get(self._number, ()):
                if (until is None or record.offset < until) and dead_letter.is_parked(record, self._key):
                    queue.add(record)
            queue.moved(await reading.position(self._number))

    def _released(self, record: ConsumedRecord) -> ReplayedDelivery:
        named = dict(record.headers)
        headers = dead_letter.released(record.headers, self._around.feed.position)
        if self._ordered and "ordering-key" in named:
            headers.append(RESUMED)
        delivery_id = named.get("delivery-id") or b""  # whoever wrote it: dispatch passes over what it cannot read
        return ReplayedDelivery(
            self._giving.replay.endpoint_id, delivery_id.decode("utf-8", "replace"), headers, record.value
        )


#: between two looks at how far the sequencer has come
_LOOK_S = 0.1


class GateClient:
    """What one turn of a resume says to the sequencer (roles/sequencer/resume_gate.py), and whether that was heard."""

    def __init__(self, giving: PacedAppender) -> None:
        self._giving = giving
        self._around = giving.around
        self._endpoint = giving.replay.endpoint_id
        self._number = giving.around.archive.partition_of(self._endpoint)
        self._ordered = giving.around.topics.name(TopicName.DELIVERIES_ORDERED)
        clock = giving.around.clock
        self._name = f"{giving.replay.id}/{clock.now_ms()}/{giving.around.feed.position}"

    async def say(self, to: GateState) -> int:
        """Move the gate; the offset of the record that does."""
        return await self._append(ordered.step(to, self._name))

    async def _append(self, headers: list[RecordHeader]) -> int:
        ack = await self._around.log.append(
            self._ordered, key=self._endpoint.encode(), value=None, headers=headers, partition=self._number
        )
        return await ack

    async def heard(self, offset: int) -> None:
        """Return when the sequencer has finished the record at `offset`, and all before it; raises `Leave`."""
        while (await self._around.reader.sequenced()).get(self._number, 0) <= offset:
            self._giving.look()
            await self._around.clock.sleep(_LOOK_S)

    async def give_up(self) -> None:
        """The work has ended before its end: open the gate, unless the resume goes on, or another one is to come."""
        if not self._around.feed.directory.has_open_resume(self._endpoint):
            await self._append(ordered.step("open"))
