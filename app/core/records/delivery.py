"""The records of `deliveries`, its delay topics, and `deliveries.pull`.

The key is the endpoint's id, the value is the event's bytes, and everything else is in headers. Numbers are decimal,
times are milliseconds since the epoch. Other topics of the family add headers: deliveries.ordered (ordered.py) and
deliveries.dead (dead_letter.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast, get_args

from app.core.errors import Defect
from app.core.model.delivery import Delivery, ManualAction
from app.core.model.event import Event, EventFormat, Mode
from app.core.records.headers import MAX_DIGITS, RecordHeader, number, short, texts

#: the header of a delivery whose body did not fit into a topic: the number of bytes that were left out
OMITTED = "body-omitted"
#: the header of a delivery whose body is sealed: the leaf of the key that opens it
SEALED = "sealed"
_LEAF = re.compile(r"[0-9a-f]{12}")
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
    sealed: str | None = None,
) -> list[RecordHeader]:
    """The headers that all deliveries of one event have in common; `with_delivery` adds the rest.

    `source` is the event's partition and offset in events.raw. `position` is the registry offset up to which the
    directory that matched the event had read: readers of the record must have read up to there. `sealed` is the leaf of
    the key that opens the body; None: it is plain.
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
    if event.attributes is not None:
        headers.append(("attributes", event.attributes.encode()))
    if sealed is not None:
        headers.append((SEALED, sealed.encode()))
    if event.deliver_at_ms is not None or event.expires_at_ms is not None:
        headers += _times(event)
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
    if delivery.attributes is not None:
        headers.append(("attributes", delivery.attributes.encode()))
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
    return headers + _about_body(delivery)


def _about_body(delivery: Delivery) -> list[RecordHeader]:
    headers = []
    if delivery.sealed is not None:
        headers.append((SEALED, delivery.sealed.encode()))
    if delivery.omitted:
        headers.append((OMITTED, b"%d" % delivery.omitted))
    return headers + _times(delivery)


def _times(of: Event | Delivery) -> list[RecordHeader]:
    times = ("deliver-at", of.deliver_at_ms), ("expires-at", of.expires_at_ms)
    return [(name, b"%d" % at_ms) for name, at_ms in times if at_ms is not None]


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
            **{_OPTIONAL[name].field: _OPTIONAL[name].read(text) for name, text in named.items() if name in _OPTIONAL},
        )
        return delivery, _count(named.get("registry-position", "0"))
    except (KeyError, ValueError) as error:
        raise Defect(f"a delivery record cannot be decoded: {error!r}") from error


def _count(text: str) -> int:
    value = number(text)
    if value < 0:
        raise ValueError(f"{text} is negative")
    return value


def _one_of(allowed: frozenset[str], text: str) -> str:
    if text not in allowed:
        raise ValueError(f"{text!r} is not one of {', '.join(sorted(allowed))}")
    return text


def _leaf(text: str) -> str:
    if not _LEAF.fullmatch(text):
        raise ValueError(f"{text!r} is no leaf of the tree of keys")
    return text


class _Optional(NamedTuple):
    #: of `Delivery`
    field: str
    read: Callable[[str], Any]


#: header → how it is read; few deliveries have many of them
_OPTIONAL: Mapping[str, _Optional] = {
    "format": _Optional("format", partial(_one_of, _FORMATS)),
    "accepted-at": _Optional("accepted_at_ms", number),  # a record's timestamp may be negative
    "attempts": _Optional("attempts", _count),
    "due-at": _Optional("due_at_ms", _count),
    "waiting-since": _Optional("waiting_since_ms", _count),
    "sequence": _Optional("sequence", _count),
    "ordering-key": _Optional("ordering_key", str),
    "replay-id": _Optional("replay_id", str),
    "traceparent": _Optional("traceparent", str),
    "attributes": _Optional("attributes", str),
    "arrival": _Optional("arrival", _count),
    "released": _Optional("released", _count),
    "revision": _Optional("revision", _count),
    "manual": _Optional("manual", partial(_one_of, _MANUAL)),
    "source": _Optional("source", str),
    OMITTED: _Optional("omitted", _count),
    SEALED: _Optional("sealed", _leaf),
    "deliver-at": _Optional("deliver_at_ms", _count),
    "expires-at": _Optional("expires_at_ms", _count),
}


def due_at_ms(headers: Iterable[RecordHeader], now_ms: int) -> int:
    """The header `due-at` alone; 0 (at once) when it is absent, malformed or later than the longest wait."""
    for name, text in headers:
        if name == "due-at":
            due_ms = int(text) if text is not None and text.isdigit() and len(text) <= MAX_DIGITS else 0
            return due_ms if due_ms - now_ms <= _LONGEST_WAIT_MS else 0
    return 0
