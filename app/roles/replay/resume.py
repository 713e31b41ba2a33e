"""Resume: what a pause has held back goes on, oldest first."""

from __future__ import annotations

from app.core import replaying
from app.core.topics import Names
from app.ports import Reading
from app.roles.replay.giving import Giving, Item
from app.roles.replay.selecting import POLL_MS, POLLED

#: what was on its way when the endpoint was resumed is put aside within that time
_QUIET_S = 2.0


class Resume:
    """Work on a replay with the reason `resume`."""

    def __init__(self, giving: Giving) -> None:
        self._giving = giving
        self._around = giving.around
        self._clock = giving.around.clock
        self._number = giving.around.archive.partition_of(giving.replay.endpoint_id)
        self._key = giving.replay.endpoint_id.encode()
        self._dead = giving.around.topics.name(Names.DELIVERIES_DEAD)

    async def run(self) -> None:
        """Until nothing more comes; raises `Leave`."""
        start = max(self._giving.done.get(self._number, 0), self._giving.replay.dead_begin or 0)
        queue = replaying.OldestFirst(start)
        reading = await self._around.reader.open(self._dead, {self._number: start})
        try:
            # What was read up to an end that was asked for when nothing had come for a while was all.
            found_s = asked_s = self._clock.monotonic()
            end = await self._dead_end()
            while True:
                await self._read_ahead(queue, reading, end)
                if queue.waiting:
                    taken = queue.take(await self._giving.slots())
                    await self._giving.append([self._released(record) for record in taken])
                    for record in taken:
                        queue.done(record)
                    found_s = self._clock.monotonic()
                self._giving.done = {self._number: queue.low}
                if not queue.waiting:
                    if asked_s >= found_s + _QUIET_S:
                        return
                    await self._clock.sleep(found_s + _QUIET_S - self._clock.monotonic())
                    asked_s, end = self._clock.monotonic(), await self._dead_end()
        finally:
            await reading.close()

    async def _dead_end(self) -> int:
        end = (await self._around.reader.ends(self._dead, [self._number]))[self._number]
        until = replaying.aside_until(self._giving.endpoint(), self._giving.replay)
        return end if until is None else min(end, until)

    async def _read_ahead(self, queue: replaying.OldestFirst, reading: Reading, end: int) -> None:
        until = replaying.aside_until(self._giving.endpoint(), self._giving.replay)
        while not queue.full and queue.position < end:
            self._giving.look()
            batches = await reading.poll((self._number,), timeout_ms=POLL_MS, max_records=POLLED)
            for record in batches.get(self._number, ()):
                if (until is None or record.offset < until) and replaying.is_put_aside(record, self._key):
                    queue.add(record)
            queue.moved(await reading.position(self._number))

    def _released(self, record: replaying.Kept) -> Item:
        named = dict(record.headers)
        headers = replaying.released(record.headers, self._around.feed.position)
        delivery_id = named.get("delivery-id") or b""  # whoever wrote it: dispatch passes over what it cannot read
        return Item(self._giving.replay.endpoint_id, delivery_id.decode("utf-8", "replace"), headers, record.value)
