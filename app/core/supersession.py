"""A delivery that is retried or cancelled while it waits: which of its copies counts.

Rules of this file
- A retry or cancellation on request appends a copy of the delivery to `deliveries`, with a turn that is larger than any
  before. The copy that waits (in the ladder, a lane, a line of the sequencer) stays where it is: Kafka cannot take it
  back. Whoever meets it there passes it over, since the registry knows a newer turn of that delivery.
- First the copy is appended, then the turn is written to the registry. A crash between the two leaves two copies that
  count, so the receiver may get the event once more; it never leaves none.
- A copy of the newest turn waits for the end of the request of an older one, if that is under way: the delivery has one
  outcome, and its attempts one count.
- An event's id may be used again once its window is over, and its delivery has the same id then. A turn concerns the
  deliveries of its own event alone: they have the same source, or, where a record names none, were accepted before it.
- A turn is forgotten after longer than anything waits in the ladder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Literal

import msgspec

from app.core.errors import CommandRefused
from app.core.model.delivery import Delivery, DeliveryRevision

#: longer than any copy waits in the ladder (delivery_record.due_at_ms), and for its endpoint (waiting.MOST_MS)
KEPT_MS = 16 * 86_400_000
#: they are in the memory of every process
MAX_TURNS = 50_000
#: of one command
MAX_TAKEN = 1000

CopyDisposition = Literal["go", "pass", "cancel"]


def fate(delivery: Delivery, newest: DeliveryRevision | None) -> CopyDisposition:
    """What becomes of a copy of a delivery, where `newest` is the registry's turn of it."""
    if newest is not None and newest.number > delivery.turn and concerns(newest, delivery):
        return "cancel" if newest.cancel else "pass"
    return "cancel" if delivery.asked == "cancel" else "go"


def concerns(turn: DeliveryRevision, delivery: Delivery) -> bool:
    """Whether the turn is of that delivery, and not of an earlier event with the same id."""
    if turn.source is not None and delivery.source is not None:
        return turn.source == delivery.source
    return delivery.accepted_at_ms <= turn.number


def after(waiting: Delivery, attempts: int, ended: Literal["delivered", "dead"] | None) -> Delivery | None:
    """What becomes of a copy that has waited for an older one's request: that was the attempt number `attempts`, and
    with it the delivery `ended` or did not. None: there is nothing more to do.
    """
    if ended == "delivered" or (ended == "dead" and waiting.asked == "cancel"):
        return None
    return msgspec.structs.replace(waiting, attempts=max(waiting.attempts, attempts))


def take(
    asked: Sequence[DeliveryRevision], known: Mapping[str, DeliveryRevision], now_ms: int
) -> tuple[list[DeliveryRevision], list[str]]:
    """The turns to be written, and the deliveries whose turns are old; raises `CommandRefused`.

    `known` has the latest request last.
    """
    if len(asked) > MAX_TAKEN:
        raise CommandRefused("invalid", f"at most {MAX_TAKEN} turns at once")
    old = [each.id for each in islice(known.values(), 2 * len(asked)) if each.number < now_ms - KEPT_MS]
    if len(known) - len(old) + len(asked) > MAX_TURNS:
        raise CommandRefused(
            "invalid", f"{MAX_TURNS} deliveries were retried or cancelled while they waited: more cannot be remembered"
        )
    fresh = [each for each in asked if each.id not in known or known[each.id].number < each.number]
    renewed = {each.id for each in fresh}
    return fresh, [each for each in old if each not in renewed]
