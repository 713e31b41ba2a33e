"""Records for the read model's tests, made with what writes them in production."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from app.adapters.sql.projection_store import SqlProjectionStore
from app.adapters.sql.read_store import SqlReadStore
from app.core.model import ids
from app.core.model.delivery import Delivery
from app.core.model.timestamps import iso
from app.core.offsets.partitions import PartitionId
from app.core.readmodel.batch import ProjectionBatch
from app.core.readmodel.rows import DeliveryFilter
from app.core.records import delivery as delivery_record
from app.core.records import duplicate as duplicate_record
from app.core.records import rejected as rejected_record
from app.core.records.attempt import Attempt
from app.core.records.audit import AuditEntry
from app.core.topics.names import TopicName
from app.ports.readmodel import OffsetAdvance, ProjectionStore
from tests.fakes.log import MemoryRecord

#: 2026-01-31T08:00:00Z
BEGUN_MS = 1_769_846_400_000


class Journal:
    """Topics in memory, and how far a store has them."""

    def __init__(self) -> None:
        self.records: dict[PartitionId, list[MemoryRecord]] = {}
        self._read: dict[PartitionId, int] = {}

    def append(
        self,
        topic: str,
        *,
        at_ms: int,
        value: bytes | None,
        key: bytes = b"ep_1",
        headers: Iterable[tuple[str, bytes]] = (),
        partition: int = 0,
    ) -> None:
        there = self.records.setdefault((topic, partition), [])
        there.append(
            MemoryRecord(
                topic=topic,
                partition=partition,
                offset=len(there),
                timestamp=at_ms,
                key=key,
                value=value,
                headers=list(headers),
            )
        )

    def event(self, at_ms: int, *, partition: int = 0, **fields: Any) -> MemoryRecord:
        """A record of events.raw, of tenant acme."""
        value = {"type": "recording.created", "tenant": "acme", "data": {}, **fields}
        self.append(TopicName.EVENTS_RAW, at_ms=at_ms, value=msgspec.json.encode(value), partition=partition)
        return self.records[TopicName.EVENTS_RAW, partition][-1]

    def rejected(self, record: MemoryRecord, reason: str = "bad_type", detail: str = "it is no type") -> None:
        """A record of events.rejected, in another partition than the record that it is about."""
        notice = rejected_record.RejectedNotice(
            reason=reason,
            detail=detail,
            topic=TopicName.EVENTS_RAW,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
        )
        self.append(
            TopicName.EVENTS_REJECTED,
            at_ms=record.timestamp + 1,
            value=record.value,
            headers=[*record.headers, *rejected_record.write(notice)],
            partition=record.partition + 1,
        )

    def duplicated(self, record: MemoryRecord, first: MemoryRecord) -> None:
        """A record of events.duplicates."""
        fields = msgspec.json.decode(record.value or b"")
        notice = duplicate_record.DuplicateNotice(
            tenant=fields["tenant"],
            mode=fields.get("mode", "live"),
            idempotency_key="k",
            event_id=fields["id"],
            topic=TopicName.EVENTS_RAW,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            first_partition=first.partition,
            first_offset=first.offset,
            first_timestamp_ms=first.timestamp,
        )
        self.append(
            TopicName.EVENTS_DUPLICATES,
            at_ms=record.timestamp + 1,
            value=b"",
            headers=duplicate_record.write(notice),
            partition=record.partition,
        )

    def handed(self, delivery: Delivery, at_ms: int, partition: int = 0) -> None:
        """A record of deliveries."""
        self.append(
            TopicName.DELIVERIES,
            at_ms=at_ms,
            value=delivery.body,
            key=delivery.endpoint_id.encode(),
            headers=delivery_record.encode(delivery),
            partition=partition,
        )

    def dead(self, delivery: Delivery, at_ms: int, reason: str, partition: int = 0) -> None:
        """A record of deliveries.dead."""
        self.append(
            TopicName.DELIVERIES_DEAD,
            at_ms=at_ms,
            value=delivery.body,
            key=delivery.endpoint_id.encode(),
            headers=[*delivery_record.encode(delivery), ("reason", reason.encode())],
            partition=partition,
        )

    def attempted(self, delivery: Delivery, at_ms: int, number: int = 1, partition: int = 0, **more: Any) -> None:
        """A record of attempts."""
        record = attempt(delivery, at_ms, number, **more)
        self.append(
            TopicName.ATTEMPTS,
            at_ms=at_ms,
            value=msgspec.json.encode(record),
            key=delivery.endpoint_id.encode(),
            partition=partition,
        )

    def noticed(self, at_ms: int, **fields: Any) -> None:
        """A record of notices."""
        self.append(TopicName.NOTICES, at_ms=at_ms, value=msgspec.json.encode(fields), key=b"acme")

    def audited(self, at_ms: int, **fields: Any) -> None:
        """A record of audit."""
        named = {
            "tenant": "acme",
            "mode": "live",
            "actor": "key_1",
            "action": "endpoint.update",
            "entity": "endpoint/ep_1",
            **fields,
        }
        entry = AuditEntry(at=iso(at_ms), **named)
        self.append(TopicName.AUDIT, at_ms=at_ms, value=msgspec.json.encode(entry), key=entry.tenant.encode())

    def portion(
        self, until: Mapping[PartitionId, int] | None = None
    ) -> tuple[ProjectionBatch, dict[PartitionId, OffsetAdvance]]:
        """What has not been read yet."""
        portion, moved = ProjectionBatch(), {}
        for place, records in self.records.items():
            begin = self._read.get(place, 0)
            some = records[begin : (until or {}).get(place, len(records))]
            for record in some:
                portion.take(place[0], record)
            if some:
                moved[place] = OffsetAdvance(begin, begin + len(some), some[-1].timestamp)
        return portion, moved

    async def into(self, store: ProjectionStore) -> ProjectionBatch:
        """Write what has not been read yet."""
        portion, moved = self.portion()
        await store.offsets(moved)
        assert await store.write(portion, moved)
        self._read |= {place: to.next for place, to in moved.items()}
        return portion

    def forget(self) -> None:
        """Nothing has been read."""
        self._read.clear()


def delivery(number: int = 1, **more: Any) -> Delivery:
    """A delivery of tenant acme."""
    fields = {
        "tenant": "acme",
        "mode": "live",
        "endpoint_id": "ep_1",
        "event_type": "recording.created",
        "accepted_at_ms": BEGUN_MS + number,
        "body": b"{}",
        **more,
    }
    event_id = fields.pop("event_id", f"evt_{number}")
    replay_id = fields.get("replay_id", "")
    delivery_id = ids.delivery_id(fields["tenant"], event_id, fields["endpoint_id"], replay_id)
    return Delivery(
        id=delivery_id, event_id=event_id, created_at=iso(fields["accepted_at_ms"]), source=f"3:{number}", **fields
    )


def attempt(about: Delivery, at_ms: int, number: int = 1, **more: Any) -> Attempt:
    """An attempt of a delivery; a successful one by default."""
    fields = {
        "trigger": "first",
        "state": "delivered",
        "result": "ok",
        "status": 200,
        "started_at": iso(at_ms - 20),
        "duration_ms": 20.0,
        "url": "https://example.com/hook",
        **more,
    }
    return Attempt(
        delivery_id=about.id,
        event_id=about.event_id,
        event_type=about.event_type,
        endpoint_id=about.endpoint_id,
        tenant=about.tenant,
        mode=about.mode,
        attempt=number,
        created_at=about.created_at,
        accepted_at_ms=about.accepted_at_ms,
        source=about.source,
        sequence=about.sequence,
        ordering_key=about.ordering_key,
        replay_id=about.replay_id or None,
        **fields,
    )


#: fields of an attempt that failed
FAILED: dict[str, Any] = {
    "state": "retrying",
    "result": "http_5xx",
    "status": 503,
    "error": "the endpoint answered 503",
    "next_attempt_at": iso(BEGUN_MS + 60_000),
}
DEAD: dict[str, Any] = {
    "state": "dead",
    "result": "http_5xx",
    "status": 503,
    "error": "the endpoint answered 503",
    "reason": "exhausted",
}


ACME = DeliveryFilter(tenant="acme", mode="live")


Stores = tuple[SqlProjectionStore, SqlReadStore]


_TYPES = ("recording.created", "recording.x", "bot.done")


def mixed() -> Journal:
    journal = Journal()
    for number in range(40):
        one = delivery(
            number,
            endpoint_id=f"ep_{number % 4}",
            event_type=_TYPES[number % 3],
            replay_id="rpl_1" if number % 10 == 0 else "",
        )
        journal.handed(one, BEGUN_MS + number)
        match number % 5:
            case 0:
                journal.attempted(one, BEGUN_MS + 2000 + number)
            case 1:
                journal.attempted(one, BEGUN_MS + 2000 + number, **FAILED)
            case 2:
                journal.attempted(one, BEGUN_MS + 2000 + number, **DEAD)
            case 3:
                refused = {**DEAD, "result": "timeout", "status": None, "error": "no answer"}
                journal.attempted(one, BEGUN_MS + 2000 + number, **refused)
    return journal


async def ids_of(read: SqlReadStore, which: DeliveryFilter, limit: int = 100) -> list[str]:
    """The ids of all pages."""
    listed: list[str] = []
    cursor = None
    while True:
        page = await read.deliveries(which, limit=limit, cursor=cursor)
        listed += [row.id for row in page.rows]
        if page.cursor is None:
            return listed
        cursor = page.cursor
