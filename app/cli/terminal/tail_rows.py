"""The rows of `hookstream tail`: what a record of a topic shows, and whether it passes the filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.core.errors import Defect
from app.core.model.event_types import includes
from app.core.model.timestamps import iso
from app.core.readmodel.event_index import RawEventFormat, index_row
from app.core.records import delivery
from app.core.records.attempt import Attempt
from app.core.records.record import ConsumedRecord
from app.core.topics.names import TopicName

_attempts = msgspec.json.Decoder(Attempt)


class TailFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a row must have; None: anything."""

    tenant: str | None = None
    mode: str | None = None
    type: str | None = None
    endpoint: str | None = None
    event: str | None = None
    state: str | None = None
    #: a status such as 503, a class such as 5xx, or an outcome such as timeout
    result: str | None = None

    def passes(self, row: Mapping[str, Any]) -> bool:
        """Whether the row has everything that is asked for."""
        exact = ("tenant", "mode", "endpoint", "event", "state")
        if any(getattr(self, name) not in (None, row.get(name)) for name in exact):
            return False
        if self.type is not None and not includes(self.type, row.get("type") or ""):
            return False
        return self.result is None or self.result in _results(row)


def event_row(record: ConsumedRecord, topic: str, max_event_bytes: int) -> dict[str, Any] | None:
    """The row of a record of events.raw; one that is no event has its readable fields."""
    event = index_row(TopicName.EVENTS_RAW, record, RawEventFormat(topic, max_event_bytes))
    return {
        "at": iso(event.at_ms),
        "tenant": event.tenant,
        "mode": event.mode,
        "type": event.event_type,
        "event": event.event_id,
        "ordering_key": event.ordering_key,
        "place": f"{record.partition}:{record.offset}",
    }


def delivery_row(record: ConsumedRecord) -> dict[str, Any] | None:
    """The row of a record of deliveries; None for one that another program has written."""
    try:
        decoded, _ = delivery.decode(record.key, record.value, record.headers)
    except Defect:
        return None
    return {
        "at": iso(record.timestamp),
        "tenant": decoded.tenant,
        "mode": decoded.mode,
        "type": decoded.event_type,
        "event": decoded.event_id,
        "delivery": decoded.id,
        "endpoint": decoded.endpoint_id,
        "attempts": decoded.attempts,
        "manual": decoded.manual,
        "replay": decoded.replay_id or None,
    }


def attempt_row(record: ConsumedRecord) -> dict[str, Any] | None:
    """The row of a record of attempts; None for one that another program has written."""
    try:
        attempt = _attempts.decode(record.value or b"")
    except (ValueError, RecursionError):
        return None
    return {
        "at": iso(record.timestamp),
        "tenant": attempt.tenant,
        "mode": attempt.mode,
        "type": attempt.event_type,
        "event": attempt.event_id,
        "delivery": attempt.delivery_id,
        "endpoint": attempt.endpoint_id,
        "attempt": attempt.attempt,
        "state": attempt.state,
        "status": attempt.status,
        "result": attempt.result,
        "duration_ms": round(attempt.duration_ms),
        "error": attempt.error,
    }


def line(row: Mapping[str, Any]) -> str:
    """One line for people: time, tenant and type, then the other fields that have a value."""
    head = f"{row['at'][:19].replace('T', ' ')} {row['tenant']}/{row['mode']} {row['type']}"
    rest = (f"{name}={row[name]}" for name in row if name not in _IN_HEAD and row[name] not in (None, ""))
    return " ".join([head, *rest]).translate(_ONE_LINE)


#: characters with which a record could move the cursor or forge another line
_ONE_LINE = dict.fromkeys((*range(32), 127, *range(128, 160)), "�")
_IN_HEAD = frozenset({"at", "tenant", "mode", "type"})


def _results(row: Mapping[str, Any]) -> set[str]:
    status = row.get("status")
    return {str(row.get("result")), *([str(status), f"{status // 100}xx"] if status is not None else [])}
