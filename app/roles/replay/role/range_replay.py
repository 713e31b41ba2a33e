"""Again: a part of events.raw once more, as fan-out decided it, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Mapping

from app.core.model import ids
from app.core.records.delivery import event_headers, with_delivery
from app.core.records.record import ConsumedRecord
from app.roles.replay.queues import QueuedDelivery
from app.roles.replay.role.appender import PacedAppender, ReplayedDelivery, SelectedEvent
from app.roles.replay.role.selector import EventSelector, MergedReader
from app.roles.replay.selection import EventChunk

#: deliveries that wait before some are handed out, and that are handed out at once
_BATCH = 200
#: nobody else can have begun with a replay that is younger: the group is slower to elect another worker
_FRESH_MS = 3_000


class RangeReplay:
    """Work on a replay with the reason `recover` or `replay`."""

    def __init__(self, giving: PacedAppender) -> None:
        self._giving = giving
        self._replay = giving.replay
        self._selecting = EventSelector(giving.replay, giving.around.archive, giving.look)

    async def run(self) -> None:
        """Until the end of the stretch; raises `Leave`."""
        ends = await self._selecting.present(self._replay.end)
        begins = {number: max(self._replay.begin.get(number, 0), self._giving.done.get(number, 0)) for number in ends}
        await self._selecting.until_fanned_out(begins, ends)
        # what was handed out above `done` before an interruption is all in the first piece
        fresh = self._replay.state == "pending" and self._age_ms() < _FRESH_MS
        interrupted = not self._giving.continued and not fresh
        while begins := {number: begin for number, begin in begins.items() if begin < ends[number]}:
            piece, until = await self._selecting.survey(begins, ends)
            if interrupted:
                await self._selecting.recognise(piece)
                interrupted = False
            self._giving.continued = True
            if piece.size:
                await self._give(piece, begins, until, more_follows=until != ends)
            self._giving.done |= until
            begins = until

    def _age_ms(self) -> int:
        return self._giving.around.clock.now_ms() - self._replay.created_at_ms

    async def _give(
        self, piece: EventChunk, begins: Mapping[int, int], until: Mapping[int, int], *, more_follows: bool
    ) -> None:
        queues = self._giving.queues
        queues.begin(begins)
        stretch = await self._selecting.stretch(begins, until)
        try:
            more = True
            while more or queues.waiting:
                more = more and await self._read(stretch, piece)
                held_up = queues.full or (more_follows and not more)
                await self._hand_out(patient=held_up or not more, held_up=held_up)
                self._giving.done |= queues.low(stretch.merge.positions())
        finally:
            await stretch.close()

    async def _read(self, stretch: MergedReader, piece: EventChunk) -> bool:
        """Let some more wait; False: there is no more."""
        queues = self._giving.queues
        enough = queues.waiting + _BATCH
        while not queues.full and queues.waiting < enough:
            if (record := await stretch.next()) is None:
                return False
            self._choose(record, piece)
        return True

    def _choose(self, record: ConsumedRecord, piece: EventChunk) -> None:
        event = self._selecting.event_of(record)
        if event is None:
            return
        first, sequence = piece.decided(event, record)
        if not first:
            return
        spot = record.partition, record.offset
        for endpoint_id, fate in piece.repeated(event, record):
            self._giving.recognised(spot, endpoint_id, fate)
        for endpoint_id in piece.chosen(event, record):
            chosen = SelectedEvent(event, record.timestamp, sequence)
            self._giving.queues.put(spot, endpoint_id, chosen, len(event.body))

    async def _hand_out(self, *, patient: bool, held_up: bool) -> None:
        """Append what may be appended now; when that is nothing and `patient`, wait until something has moved.

        `held_up`: others wait for those that take nothing.
        """
        giving, queues = self._giving, self._giving.queues
        most = giving.allowed(_BATCH)
        taken = queues.take(most, giving.free)
        if not taken and held_up:
            taken = queues.overflow(most, giving.stuck)
        if taken:
            fates = await giving.append([self._item(each) for each in taken])
            for each, fate in zip(taken, fates, strict=True):
                queues.done(each, fate)
        elif patient and queues.waiting:
            await giving.moved()

    def _item(self, waiting: QueuedDelivery[SelectedEvent]) -> ReplayedDelivery:
        event, accepted_at_ms, sequence = waiting.item
        position = self._giving.around.feed.position
        shared = event_headers(event, accepted_at_ms, sequence, self._replay.id, position, waiting.spot)
        delivery_id = ids.delivery_id(event.tenant, event.id, waiting.endpoint_id, self._replay.id)
        return ReplayedDelivery(waiting.endpoint_id, delivery_id, with_delivery(shared, delivery_id), event.body)
