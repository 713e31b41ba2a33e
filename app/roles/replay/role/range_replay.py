"""The work of a recovery or a replay: a range of events.raw again, as fan-out decided, ordered by timestamp."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.model import ids
from app.core.records.delivery import event_headers, with_delivery
from app.core.records.record import ConsumedRecord
from app.roles.replay.queues import QueuedDelivery
from app.roles.replay.role.appender import PacedAppender, ReplayedDelivery, SelectedEvent
from app.roles.replay.role.selector import EventSelector, MergedReader
from app.roles.replay.selection import EventChunk

#: deliveries that are read before some are handed out, and that are handed out together
_BATCH = 200
#: milliseconds: no other worker can have begun a younger replay, because the group needs longer to elect one
_FRESH_MS = 3_000


class RangeReplay:
    """Work on a replay with the reason `recover` or `replay`."""

    def __init__(self, appender: PacedAppender) -> None:
        self._appender = appender
        self._replay = appender.replay
        self._selector = EventSelector(appender.replay, appender.context.sources, appender.check_still_wanted)

    async def run(self) -> None:
        """Work until the end of the range. Raises `StopReplay`."""
        ends = await self._selector.present(self._replay.end)
        begins = {number: max(self._replay.begin.get(number, 0), self._appender.done.get(number, 0)) for number in ends}
        await self._selector.until_fanned_out(begins, ends)
        # deliveries above `done` that were handed out before an interruption are all in the first chunk
        fresh = self._replay.state == "pending" and self._age_ms() < _FRESH_MS
        interrupted = not self._appender.continued and not fresh
        while begins := {number: begin for number, begin in begins.items() if begin < ends[number]}:
            chunk, until = await self._selector.survey(begins, ends)
            if interrupted:
                await self._selector.find_handed_out(chunk)
                interrupted = False
            self._appender.continued = True
            if chunk.size:
                await self._give(chunk, begins, until, more_follows=until != ends)
            self._appender.done |= until
            begins = until

    def _age_ms(self) -> int:
        return self._appender.context.clock.now_ms() - self._replay.created_at_ms

    async def _give(
        self, chunk: EventChunk, begins: Mapping[int, int], until: Mapping[int, int], *, more_follows: bool
    ) -> None:
        queues = self._appender.queues
        queues.begin(begins)
        merged = await self._selector.open_range(begins, until)
        try:
            more = True
            while more or queues.waiting:
                more = more and await self._read(merged, chunk)
                held_up = queues.full or (more_follows and not more)
                await self._hand_out(patient=held_up or not more, held_up=held_up)
                self._appender.done |= queues.low(merged.merge.positions())
        finally:
            await merged.close()

    async def _read(self, merged: MergedReader, chunk: EventChunk) -> bool:
        """Read more deliveries into the queues; False at the end of the chunk."""
        queues = self._appender.queues
        enough = queues.waiting + _BATCH
        while not queues.full and queues.waiting < enough:
            if (record := await merged.next()) is None:
                return False
            self._choose(record, chunk)
        return True

    def _choose(self, record: ConsumedRecord, chunk: EventChunk) -> None:
        event = self._selector.event_of(record)
        if event is None:
            return
        first, sequence = chunk.decided(event, record)
        if not first:
            return
        position = record.partition, record.offset
        for endpoint_id, route in chunk.handed_out(event, record):
            self._appender.add_handed_out(position, endpoint_id, route)
        for endpoint_id in chunk.selected(event, record):
            selected = SelectedEvent(event, record.timestamp, sequence)
            self._appender.queues.put(position, endpoint_id, selected, len(event.body))

    async def _hand_out(self, *, patient: bool, held_up: bool) -> None:
        """Append what may be appended now. If that is nothing and `patient`, wait until there is room.

        `held_up`: no more can be read until the waiting deliveries are handed out.
        """
        appender, queues = self._appender, self._appender.queues
        most = appender.allowed(_BATCH)
        taken = queues.take(most, appender.free)
        if not taken and held_up:
            taken = queues.overflow(most, appender.stuck)
        if taken:
            routes = await appender.append([self._item(each) for each in taken])
            for each, route in zip(taken, routes, strict=True):
                queues.done(each, route)
        elif patient and queues.waiting:
            await appender.wait_for_room()

    def _item(self, waiting: QueuedDelivery[SelectedEvent]) -> ReplayedDelivery:
        event, accepted_at_ms, sequence = waiting.item
        position, subjects = self._appender.context.feed.position, self._appender.context.sources.subjects
        body, sealed = event.body, None
        if event.subject is not None and subjects is not None:
            body, sealed = subjects.seal(event, accepted_at_ms)
        shared = event_headers(
            event, accepted_at_ms, sequence, self._replay.id, position, waiting.position, sealed=sealed
        )
        delivery_id = ids.delivery_id(event.tenant, event.id, waiting.endpoint_id, self._replay.id)
        return ReplayedDelivery(waiting.endpoint_id, delivery_id, with_delivery(shared, delivery_id), body)
