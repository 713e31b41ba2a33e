"""The records of `deliveries` and its delay topics.

The key is the endpoint's id, the value is the event's bytes, and everything else is in headers. Numbers are decimal,
times are milliseconds since the epoch. Other topics of the family add headers: deliveries.ordered (ordered.py) and
deliveries.dead (dead_letter.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast, get_args

from app.core.errors import Defect
from app.core.model.delivery import Delivery, ManualAction
from app.core.model.event import Event, EventFormat, Mode
from app.core.records.headers import MAX_DIGITS, RecordHeader, number, short, texts

#: the header of a delivery whose body did not fit into a topic: the number of bytes that were left out
OMITTED = "body-omitted"
_MODES = frozenset(get_args(Mode))
_FORMATS = frozenset(get_args(EventFormat))
_MANUAL = frozenset(get_args(ManualAction))
#: the longest wait: the longest delay of a schedule or of a Retry-After, with jitter, and a day for differing clocks
_LONGEST_WAIT_MS = 9 * 86_400_000


def event_headers(
    event: Event,
    accepted_at_ms: int,
    sequence: int | None,
    replay_id: str,
    position: int,
    source: tuple[int, int] | None = None,
) -> list[RecordHeader]:
    """The headers that all deliveries of one event have in common; `with_delivery` adds the rest.

    `source` is the event's partition and offset in events.raw. `position` is the registry offset up to which the
    directory that matched the event had read: readers of the record must have read up to there.
    """
    headers = [
        ("event-id", event.id.encode()),
        ("event-type", event.type.encode()),
        ("tenant", event.tenant.encode()),
        ("mode", event.mode.encode()),
        ("created-at", event.created_at.encode()),
        ("accepted-at", b"%d" % accepted_at_ms),
        ("registry-position", b"%d" % position),
    ]
    if source is not None:
        headers.append(("source", b"%d:%d" % source))
    if event.format != "native":
        headers.append(("format", event.format.encode()))
    if sequence is not None and event.ordering_key is not None:
        headers.append(("sequence", b"%d" % sequence))
        headers.append(("ordering-key", event.ordering_key.encode()))
    if replay_id:
        headers.append(("replay-id", replay_id.encode()))
    if event.traceparent:
        headers.append(("traceparent", event.traceparent.encode()))
    return headers


def with_delivery(shared: list[RecordHeader], delivery_id: str) -> list[RecordHeader]:
    """The headers of one delivery, from those that `event_headers` returned."""
    return [("delivery-id", delivery_id.encode()), *shared]


def encode(delivery: Delivery) -> list[RecordHeader]:
    """All headers of a delivery that is written again: retried, deferred or dead."""
    headers = [
        ("delivery-id", delivery.id.encode()),
        ("event-id", delivery.event_id.encode()),
        ("event-type", delivery.event_type.encode()),
        ("tenant", delivery.tenant.encode()),
        ("mode", delivery.mode.encode()),
        ("created-at", delivery.created_at.encode()),
        ("accepted-at", b"%d" % delivery.accepted_at_ms),
    ]
    if delivery.format != "native":
        headers.append(("format", delivery.format.encode()))
    if delivery.attempts:
        headers.append(("attempts", b"%d" % delivery.attempts))
    if delivery.due_at_ms:
        headers.append(("due-at", b"%d" % delivery.due_at_ms))
    if delivery.waiting_since_ms:
        headers.append(("waiting-since", b"%d" % delivery.waiting_since_ms))
    if delivery.sequence is not None:
        headers.append(("sequence", b"%d" % delivery.sequence))
    if delivery.ordering_key is not None:
        headers.append(("ordering-key", delivery.ordering_key.encode()))
    if delivery.replay_id:
        headers.append(("replay-id", delivery.replay_id.encode()))
    if delivery.traceparent:
        headers.append(("traceparent", delivery.traceparent.encode()))
    if delivery.source is not None:
        headers.append(("source", delivery.source.encode()))
    if delivery.arrival is not None:
        headers.append(("arrival", b"%d" % delivery.arrival))
    if delivery.released is not None:
        headers.append(("released", b"%d" % delivery.released))
    if delivery.revision:
        headers.append(("revision", b"%d" % delivery.revision))
    if delivery.manual is not None:
        headers.append(("manual", delivery.manual.encode()))
    if delivery.omitted:
        headers.append((OMITTED, b"%d" % delivery.omitted))
    return headers


def decode(key: bytes | None, value: bytes | None, headers: Iterable[RecordHeader]) -> tuple[Delivery, int]:
    """The delivery of a record, and the registry offset up to which its reader must have read (0: any).

    Raises `Defect` when a required header is missing or a value is malformed: another program has written the record.
    """
    try:
        named = texts(headers)
        delivery = Delivery(
            id=named["delivery-id"],
            endpoint_id=short((key or b"").decode()),
            event_id=named["event-id"],
            event_type=named["event-type"],
            tenant=named["tenant"],
            mode=cast(Mode, _one_of(_MODES, named["mode"])),
            created_at=named["created-at"],
            body=value or b"",
            format=cast(EventFormat, _one_of(_FORMATS, named.get("format", "native"))),
            accepted_at_ms=_number(named, "accepted-at") or 0,
            attempts=_number(named, "attempts") or 0,
            due_at_ms=_number(named, "due-at") or 0,
            waiting_since_ms=_number(named, "waiting-since") or 0,
            sequence=_number(named, "sequence"),
            ordering_key=named.get("ordering-key"),
            replay_id=named.get("replay-id", ""),
            traceparent=named.get("traceparent"),
            arrival=_number(named, "arrival"),
            released=_number(named, "released"),
            revision=_number(named, "revision") or 0,
            manual=cast(ManualAction, _one_of(_MANUAL, named["manual"])) if "manual" in named else None,
            source=named.get("source"),
            omitted=_number(named, OMITTED) or 0,
        )
        return delivery, _number(named, "registry-position") or 0
    except (KeyError, ValueError) as error:
        raise Defect(f"a delivery record cannot be decoded: {error!r}") from error


def _number(named: Mapping[str, str], name: str) -> int | None:
    text = named.get(name)
    if text is None:
        return None
    value = number(text)
    if value < 0 and name != "accepted-at":  # a record's timestamp may be
        raise ValueError(f"{name} is {value}")
    return value


def _one_of(allowed: frozenset[str], text: str) -> str:
    if text not in allowed:
        raise ValueError(f"{text!r} is not one of {', '.join(sorted(allowed))}")
    return text


def due_at_ms(headers: Iterable[RecordHeader], now_ms: int) -> int:
    """The header `due-at` alone; 0 (at once) when it is absent, malformed or later than the longest wait."""
    for name, text in headers:
        if name == "due-at":
            due_ms = int(text) if text is not None and text.isdigit() and len(text) <= MAX_DIGITS else 0
            return due_ms if due_ms - now_ms <= _LONGEST_WAIT_MS else 0
    return 0
