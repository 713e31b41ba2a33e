"""A delivery as a Kafka record: the value is the event's bytes, everything else is in headers (DESIGN section 3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from app.core.errors import Defect
from app.core.model import Delivery, Event, Format, Mode

Header = tuple[str, bytes]


def event_headers(
    event: Event, accepted_at_ms: int, sequence: int | None, replay_id: str, position: int
) -> list[Header]:
    """What all deliveries of one event share; `with_delivery` adds the rest.

    `position` is how far the matching directory had read the registry: whoever sends it must have read as far.
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


def with_delivery(shared: list[Header], delivery_id: str) -> list[Header]:
    """The headers of one delivery of an event."""
    return [("delivery-id", delivery_id.encode()), *shared]


def encode(delivery: Delivery) -> list[Header]:
    """All headers of a delivery that waits or goes on (retry, deferral, dead)."""
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
    if delivery.sequence is not None:
        headers.append(("sequence", b"%d" % delivery.sequence))
    if delivery.ordering_key is not None:
        headers.append(("ordering-key", delivery.ordering_key.encode()))
    if delivery.replay_id:
        headers.append(("replay-id", delivery.replay_id.encode()))
    if delivery.traceparent:
        headers.append(("traceparent", delivery.traceparent.encode()))
    if delivery.arrival is not None:
        headers.append(("arrival", b"%d" % delivery.arrival))
    return headers


def decode(key: bytes | None, value: bytes | None, headers: Iterable[Header]) -> tuple[Delivery, int]:
    """The delivery of a record, and the registry position that its reader must have reached (0: any).

    `Defect` when a required header is missing: nobody but us writes these topics.
    """
    try:
        named = {name: text.decode() for name, text in headers if text is not None}
        sequence, arrival = named.get("sequence"), named.get("arrival")
        delivery = Delivery(
            id=named["delivery-id"],
            endpoint_id=(key or b"").decode(),
            event_id=named["event-id"],
            event_type=named["event-type"],
            tenant=named["tenant"],
            mode=cast(Mode, named["mode"]),
            created_at=named["created-at"],
            body=value or b"",
            format=cast(Format, named.get("format", "native")),
            accepted_at_ms=int(named.get("accepted-at", "0")),
            attempts=int(named.get("attempts", "0")),
            due_at_ms=int(named.get("due-at", "0")),
            sequence=int(sequence) if sequence is not None else None,
            ordering_key=named.get("ordering-key"),
            replay_id=named.get("replay-id", ""),
            traceparent=named.get("traceparent"),
            arrival=int(arrival) if arrival is not None else None,
        )
        return delivery, int(named.get("registry-position", "0"))
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        raise Defect(f"a delivery record is not readable: {error!r}") from error


def due_at_ms(headers: Iterable[Header]) -> int:
    """The `due-at` header alone; 0 when absent or unreadable (then it is due at once)."""
    for name, text in headers:
        if name == "due-at":
            return int(text) if text.isdigit() else 0
    return 0
