"""The notifier role: notices go to people as e-mails, and to endpoints as events.

Rules of this file
- An offset is finished when the mail server has accepted the e-mail for each address, or has refused the address for
  good.
- A tenant with open notices has a task of its own. It gathers notices, waits, and retries for days. No tenant waits for
  another one.
- If an endpoint subscribes to it, a notice is also an event of its tenant: type `hookstream.<kind>`, the notice's id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple

import msgspec
import structlog

from app.core.errors import Defect
from app.core.model import ids
from app.core.model.event_types import RESERVED
from app.core.offsets.partitions import OpenPartition, PartitionId
from app.core.offsets.progress import PartitionProgress, progress_of
from app.core.records import notice as notice_record
from app.core.records.notice import Notice
from app.core.topics.declarations import Topics
from app.core.topics.names import TopicName
from app.ports.clock import Clock
from app.ports.consumer import GroupConsumer, Record
from app.ports.mail import EmailRenderer, Mailer, OutgoingEmail
from app.ports.metrics import Meter
from app.ports.producer import Producer
from app.ports.registry import DirectoryFeed
from app.roles.committer import ConsumerRole
from app.roles.notifier.digest import EmailPace, digest, pause_s

logger = structlog.get_logger(__name__)

#: notices in memory; further ones wait in Kafka
_MAX_OPEN = 20_000
_POLLED = 500
#: e-mails on their way to the server at once
_AT_ONCE = 8
_GIVE_UP_S = 5 * 86_400.0
#: one e-mail takes no longer
_HANDOVER_S = 120.0
_STOP_S = 3.0


class _Waiting(NamedTuple):
    partition: OpenPartition
    offset: int
    size: int
    notice: Notice

    def finish(self) -> None:
        self.partition.finished(self.offset, self.size)


class _Outbox:
    """The open notices of one tenant."""

    __slots__ = ("first_s", "task", "until_s", "waiting")

    def __init__(self, first_s: float) -> None:
        self.waiting: list[_Waiting] = []
        #: when the oldest of them came (monotonic seconds)
        self.first_s = first_s
        #: the task sleeps until then
        self.until_s = first_s
        self.task: asyncio.Task[None] | None = None


class NotifierRole(ConsumerRole):
    """One notifier."""

    _name = "notifier"

    def __init__(
        self,
        *,
        source: GroupConsumer,
        producer: Producer,
        feed: DirectoryFeed,
        mailer: Mailer | None,
        writer: EmailRenderer,
        link: Callable[[str, str], str | None],
        topics: Topics,
        clock: Clock,
        meter: Meter,
        pace: EmailPace,
    ) -> None:
        """`mailer` None: there is no mail server. `link` gives the unsubscribe link of a tenant's address."""
        super().__init__(source, clock, meter)
        self._producer = producer
        self._feed = feed
        self._mailer = mailer
        self._writer = writer
        self._link = link
        self._events = topics.name(TopicName.EVENTS_RAW)
        self._pace = pace
        self._boxes: dict[str, _Outbox] = {}
        #: tenant → when the last e-mail was sent
        self._sent_s: dict[str, float] = {}
        self._sending = asyncio.Semaphore(_AT_ONCE)
        self._in_transfer = 0

    def _loops(self) -> Sequence[Coroutine[None, None, None]]:
        return (self._poll_loop(),)

    async def _drain(self) -> None:
        await self._stop_tasks()

    def _progress(self) -> dict[PartitionId, PartitionProgress]:
        # Gathering notices, and waiting for a mail server, is waiting on purpose.
        until_s = max((box.until_s for box in self._boxes.values()), default=None)
        waits_s = until_s + _HANDOVER_S * 20 if until_s is not None else None
        partitions = self._partitions.of(self._partitions.places())
        return {each.place: progress_of(each, self._source.position(each.place), waits_s) for each in partitions}

    async def revoked(self, places: set[PartitionId]) -> None:
        """Wait (bounded) for e-mails in transfer, commit, and drop the rest: the next owner reads it."""
        await self._stop_tasks()
        await self._committer.commit()
        self._partitions.remove(places)

    async def _stop_tasks(self) -> None:
        deadline = self._clock.monotonic() + _STOP_S
        while self._in_transfer and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)
        tasks = [box.task for box in self._boxes.values() if box.task is not None]
        self._boxes.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- intake -------------------------------------------------------------------------------------------------

    async def _poll_loop(self) -> None:
        while True:
            while self._partitions.open >= _MAX_OPEN:
                await self._clock.sleep(1.0)
            batches = await self._source.poll(timeout_ms=1000, max_records=_POLLED)
            taken = [(self._partitions.get(place), records) for place, records in batches.items()]
            if taken:
                await self._feed.catch_up()
            for partition, records in taken:
                for record in records:
                    if partition is not None and partition.active:
                        await self._take_in(partition, record)
            self._partitions.read_to(self._source.position)
            self._meter.gauge("notices_waiting", self._partitions.open)

    async def _take_in(self, partition: OpenPartition, record: Record) -> None:
        size = len(record.value or b"")
        if not partition.opened(record.offset, size):
            return
        try:
            notice = notice_record.read(record.value)
        except Defect as error:
            logger.error("notifier.unreadable", place=partition.place, offset=record.offset, error=str(error))
            self._meter.count("records_unreadable_total", topic=TopicName.NOTICES)
            partition.finished(record.offset, size)
            return
        await self._append_event(notice)
        if not partition.active:
            return
        waiting = _Waiting(partition, record.offset, size, notice)
        if self._mailer is None or not self._addresses(notice.tenant):
            waiting.finish()
            return
        box = self._boxes.get(notice.tenant)
        if box is None:
            box = self._boxes[notice.tenant] = _Outbox(self._clock.monotonic())
            box.task = asyncio.create_task(self._serve(notice.tenant, box, self._mailer))
        elif not box.waiting:
            box.first_s = self._clock.monotonic()
        box.waiting.append(waiting)

    async def _append_event(self, notice: Notice) -> None:
        """Append the notice as an event if an endpoint subscribes to it. Fan-out drops repetitions by their id."""
        event_type = RESERVED + notice.kind
        if not self._feed.directory.match(notice.tenant, notice.mode, event_type):
            return
        data = {name: getattr(notice, name) for name in ("endpoint_id", "kind", "summary")} | {"details": notice.data}
        event = {"type": event_type, "id": notice.id, "created_at": notice.at, "data": data}
        headers = [("tenant", notice.tenant.encode()), ("mode", notice.mode.encode())]
        await (
            await self._producer.append(
                self._events, key=notice.tenant.encode(), value=msgspec.json.encode(event), headers=headers
            )
        )

    def _addresses(self, tenant_id: str) -> tuple[str, ...]:
        tenant = self._feed.directory.tenants.get(tenant_id)
        return tenant.notify_emails if tenant is not None else ()

    # --- e-mail -------------------------------------------------------------------------------------------------

    async def _serve(self, tenant: str, box: _Outbox, mailer: Mailer) -> None:
        """Send e-mails to a tenant until it has no open notices."""
        try:
            while box.waiting:
                box.until_s = self._pace.due_s(box.first_s, self._sent_s.get(tenant))
                await self._clock.sleep(box.until_s - self._clock.monotonic())
                notices, box.waiting = box.waiting, []
                await self._write(tenant, box, notices, mailer)
                self._sent_s[tenant] = self._clock.monotonic()
                for each in notices:
                    each.finish()
            if self._boxes.get(tenant) is box:
                del self._boxes[tenant]
        except Exception as error:  # if it ended silently, its notices would stay open for ever
            self._fail(error)

    async def _write(self, tenant: str, box: _Outbox, notices: list[_Waiting], mailer: Mailer) -> None:
        left = set(self._addresses(tenant))
        begun_s = self._clock.monotonic()
        failures = 0
        while left:
            for address in sorted(left):
                if await self._hand_over(tenant, address, notices, mailer):
                    left.discard(address)
            if not left:
                return
            if self._clock.monotonic() - begun_s >= _GIVE_UP_S:
                logger.error("notifier.gave_up", tenant=tenant, addresses=len(left), notices=len(notices))
                self._meter.count("emails_total", len(left), result="given_up")
                return
            failures += 1
            box.until_s = self._clock.monotonic() + pause_s(failures)
            await self._clock.sleep(pause_s(failures))
            left &= set(self._addresses(tenant))

    async def _hand_over(self, tenant: str, address: str, notices: list[_Waiting], mailer: Mailer) -> bool:
        """Send one e-mail. Returns whether the address is settled."""
        link = self._link(tenant, address)
        content = digest(tenant, [each.notice for each in notices], link)
        mail = OutgoingEmail(
            id=ids.mail_id(address, [each.notice.id for each in notices]),
            to=address,
            subject=content.subject,
            text=self._writer.text(content),
            html=self._writer.html(content),
            unsubscribe=link,
        )
        async with self._sending:
            self._in_transfer += 1
            try:
                outcome = await mailer.send(mail)
            finally:
                self._in_transfer -= 1
        self._meter.count("emails_total", result=outcome.result)
        if outcome.result != "sent":
            logger.warning(
                "notifier.not_sent", tenant=tenant, mail=mail.id, result=outcome.result, error=outcome.detail
            )
        return outcome.result != "later"
