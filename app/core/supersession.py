"""A delivery that is retried or cancelled while it waits: which of its copies counts.

Rules of this file
- A retry or cancellation on request appends a copy of the delivery to `deliveries`, with a higher revision than any
  before. The copy that waits (in the delay ladder, a lane or a key queue) stays where it is: Kafka cannot take it back.
  Whichever role reads it later drops it, because the registry has a newer revision of that delivery.
- The copy is appended first; then the revision is written to the registry. A crash between the two leaves two valid
  copies, so the receiver may get the event once more; it never leaves none.
- While a request of an older copy is in flight, the copy with the newest revision waits for its end: a delivery has one
  outcome and one count of attempts.
- An event id may be used again after its idempotency window, and its delivery then has the same id. A revision applies
  only to deliveries of its own event: they have the same source or, where a record names none, were accepted before it.
- A revision is removed after a time that is longer than any wait in the ladder.
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
MAX_REVISIONS = 50_000
#: of one command
MAX_TAKEN = 1000

CopyDisposition = Literal["go", "pass", "cancel"]


def fate(delivery: Delivery, newest: DeliveryRevision | None) -> CopyDisposition:
    """What becomes of a copy of a delivery, where `newest` is the registry's revision of it."""
    if newest is not None and newest.number > delivery.revision and concerns(newest, delivery):
        return "cancel" if newest.cancel else "pass"
    return "cancel" if delivery.manual == "cancel" else "go"


def concerns(revision: DeliveryRevision, delivery: Delivery) -> bool:
    """Whether the revision is of that delivery, and not of an earlier event with the same id."""
    if revision.source is not None and delivery.source is not None:
        return revision.source == delivery.source
    return delivery.accepted_at_ms <= revision.number


def after(waiting: Delivery, attempts: int, ended: Literal["delivered", "dead"] | None) -> Delivery | None:
    """What becomes of a copy that has waited for an older one's request: that was the attempt number `attempts`, and
    with it the delivery `ended` or did not. None: there is nothing more to do.
    """
    if ended == "delivered" or (ended == "dead" and waiting.manual == "cancel"):
        return None
    return msgspec.structs.replace(waiting, attempts=max(waiting.attempts, attempts))


def take(
    asked: Sequence[DeliveryRevision], known: Mapping[str, DeliveryRevision], now_ms: int
) -> tuple[list[DeliveryRevision], list[str]]:
    """The revisions to be written, and the deliveries whose revisions are old; raises `CommandRefused`.

    `known` has the latest request last.
    """
    if len(asked) > MAX_TAKEN:
        raise CommandRefused("invalid", f"at most {MAX_TAKEN} revisions at once")
    old = [each.id for each in islice(known.values(), 2 * len(asked)) if each.number < now_ms - KEPT_MS]
    if len(known) - len(old) + len(asked) > MAX_REVISIONS:
        raise CommandRefused(
            "invalid",
            f"{MAX_REVISIONS} deliveries were retried or cancelled while they waited: more cannot be remembered",
        )
    fresh = [each for each in asked if each.id not in known or known[each.id].number < each.number]
    renewed = {each.id for each in fresh}
    return fresh, [each for each in old if each not in renewed]
