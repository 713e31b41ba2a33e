"""Recover: what a disabled endpoint has missed, as fan-out decided it, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.core import ids, replaying
from app.core.delivery_record import event_headers, with_delivery
from app.core.errors import MalformedEvent
from app.core.ingest import Coordinates, data_of, understand
from app.core.model import Event
from app.core.topics import Names
from app.ports import Reading, Record
from app.roles.replay.giving import LOOK_S, POLL_MS, POLLED, Giving, Item

#: matching events of one piece of a stretch; eight replays at once have half a million in all
_PIECE = 62_500


class Recover:
    """Work on a replay with the reason `recover`."""

    def __init__(self, giving: Giving) -> None:
        self._giving = giving
        self._around = giving.around
        self._replay = giving.replay
        self._clock = giving.around.clock
        self._events = giving.around.topics.name(Names.EVENTS_RAW)

    async def run(self) -> None:
        """Until the end of the stretch; raises `Leave`."""
        ends = self._replay.end
        begins = {number: max(self._replay.begin.get(number, 0), self._giving.done.get(number, 0)) for number in ends}
        await self._until_fanned_out(begins, ends)
        while begins := {number: begin for number, begin in begins.items() if begin < ends[number]}:
            piece, until = await self._survey(begins, ends)
            if piece.size:
                await self._learn(piece)
                await self._give(piece, begins, until)
            self._giving.done |= until
            begins = until

    async def _until_fanned_out(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Before, nobody knows yet which of the events are duplicates, and which sequences they have."""
        before: dict[int, int] = {}
        while True:
            self._giving.look()
            known = await self._around.reader.fanned_out()
            behind = {
                number: known.get(number, 0)
                for number, end in ends.items()
                if begins[number] < end and known.get(number, 0) < end
            }
            if not behind or (behind == before and not await self._holds_records(behind, ends)):
                return
            before = behind
            await self._clock.sleep(LOOK_S)

    async def _holds_records(self, begins: Mapping[int, int], ends: Mapping[int, int]) -> bool:
        """What follows may be no records at all (the marks of transactions): nobody will ever commit beyond."""
        stretch = await self._stretch(begins, ends)
        try:
            return await stretch.next() is not None
        finally:
            await stretch.close()

    async def _survey(
        self, begins: Mapping[int, int], ends: Mapping[int, int]
    ) -> tuple[replaying.Piece, dict[int, int]]:
        """Find the next events that match, and where they end."""
        piece = replaying.Piece()
        stretch = await self._stretch(begins, ends)
        try:
            while piece.size < _PIECE and (record := await stretch.next()) is not None:
                event = self._matching(record)
                if event is not None:
                    piece.want(event, record)
            return piece, stretch.merge.positions()
        finally:
            await stretch.close()

    async def _learn(self, piece: replaying.Piece) -> None:
        """Read what fan-out decided about them."""
        topic, reader = self._around.changelog, self._around.reader
        since_ms = piece.since_ms(self._giving.look(), self._replay)
        starts = {number: await reader.offset_at(topic, number, since_ms) for number in piece.partitions}
        if not starts:
            return
        stretch = await self._stretch(starts, await reader.ends(topic, piece.partitions), topic)
        try:
            while (record := await stretch.next()) is not None:
                piece.learn(record.partition, record.value)
        finally:
            await stretch.close()

    async def _give(self, piece: replaying.Piece, begins: Mapping[int, int], until: Mapping[int, int]) -> None:
        stretch = await self._stretch(begins, until)
        try:
            while True:
                free, items, record = await self._giving.slots(), list[Item](), None
                while len(items) < free and (record := await stretch.next()) is not None:
                    items += self._missed(record, piece)
                await self._giving.append(items)
                self._giving.done |= stretch.merge.positions()
                if record is None:
                    return
        finally:
            await stretch.close()

    def _matching(self, record: replaying.Kept) -> Event | None:
        """The event of a record, when the endpoint would get it now."""
        at = Coordinates(self._events, record.partition, record.offset, record.timestamp)
        try:
            event = understand(record.value, record.headers, at, max_bytes=self._around.max_event_bytes)
        except MalformedEvent:
            return None
        if (event.tenant, event.mode) != (self._replay.tenant, self._replay.mode):
            return None
        matching = self._around.feed.directory.match(event.tenant, event.mode, event.type)
        mine = any(each.id == self._replay.endpoint_id for each in matching)
        return event if mine and not self._rejected(event) else None

    def _rejected(self, event: Event) -> bool:
        """Whether its type's schema refuses it; where fan-out has left a sight, that is what counts."""
        known = self._around.feed.directory.event_types.get((event.tenant, event.mode, event.type))
        if known is None or known.enforce != "reject" or replaying.has_key(event):
            return False
        return self._around.violation(known, data_of(event.body, event.format)) is not None

    def _missed(self, record: replaying.Kept, piece: replaying.Piece) -> list[Item]:
        event = self._matching(record)
        if event is None:
            return []
        first, sequence = piece.decided(event, record)
        if not first:
            return []
        shared = event_headers(event, record.timestamp, sequence, self._replay.id, self._around.feed.position)
        delivery_id = ids.delivery_id(event.tenant, event.id, self._replay.endpoint_id, self._replay.id)
        return [Item(delivery_id, with_delivery(shared, delivery_id), event.body)]

    async def _stretch(self, begins: Mapping[int, int], ends: Mapping[int, int], topic: str | None = None) -> _Stretch:
        reading = await self._around.reader.open(topic or self._events, begins)
        return _Stretch(reading, replaying.Merge(begins, ends), self._giving.look)


class _Stretch:
    """Stretches of a topic's partitions, read in the order of the records' timestamps."""

    def __init__(self, reading: Reading, merge: replaying.Merge, look: Callable[[], object]) -> None:
        self._reading = reading
        self.merge = merge
        self._look = look
        self.close = reading.close

    async def next(self) -> replaying.Kept | None:
        """The next record; None: that was all."""
        while hungry := self.merge.hungry():
            self._look()
            batches = await self._reading.poll(hungry, timeout_ms=POLL_MS, max_records=POLLED)
            for number in hungry:
                records: Sequence[Record] = batches.get(number, ())
                self.merge.feed(number, records, await self._reading.position(number))
        return self.merge.take()
