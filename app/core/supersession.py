"""Deliveries that are retried or cancelled while they wait: which of their copies is valid.

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

#: milliseconds until a revision is removed: longer than any wait in the ladder (records/delivery.py) or for an endpoint
#: (roles/dispatch/wait_limits.py)
RETENTION_MS = 16 * 86_400_000
#: revisions in the registry at most: they are in the memory of every process
MAX_REVISIONS = 50_000
#: revisions of one command at most
MAX_AT_ONCE = 1000

#: go: the copy is valid; pass: it is superseded and dropped; cancel: it ends as cancelled
CopyDisposition = Literal["go", "pass", "cancel"]


def disposition(delivery: Delivery, newest: DeliveryRevision | None) -> CopyDisposition:
    """What happens to a copy of a delivery; `newest` is the delivery's revision in the registry."""
    if newest is not None and newest.number > delivery.revision and concerns(newest, delivery):
        return "cancel" if newest.cancel else "pass"
    return "cancel" if delivery.manual == "cancel" else "go"


def concerns(revision: DeliveryRevision, delivery: Delivery) -> bool:
    """Whether a revision applies to a delivery, and not to that of an earlier event with the same id."""
    if revision.source is not None and delivery.source is not None:
        return revision.source == delivery.source
    return delivery.accepted_at_ms <= revision.number


def after(waiting: Delivery, attempts: int, ended: Literal["delivered", "dead"] | None) -> Delivery | None:
    """A copy that has waited for the request of an older one, as it continues; None if nothing remains to be done.

    The request was attempt number `attempts`; with it the delivery has `ended`, or not (None).
    """
    if ended == "delivered" or (ended == "dead" and waiting.manual == "cancel"):
        return None
    return msgspec.structs.replace(waiting, attempts=max(waiting.attempts, attempts))


def take(
    requested: Sequence[DeliveryRevision], current: Mapping[str, DeliveryRevision], now_ms: int
) -> tuple[list[DeliveryRevision], list[str]]:
    """The revisions to write, and the ids of deliveries whose revisions have expired. Raises `CommandRefused`.

    `current` are the revisions of the registry, the latest last.
    """
    if len(requested) > MAX_AT_ONCE:
        raise CommandRefused("invalid", f"at most {MAX_AT_ONCE} revisions at once")
    expired = [each.id for each in islice(current.values(), 2 * len(requested)) if each.number < now_ms - RETENTION_MS]
    if len(current) - len(expired) + len(requested) > MAX_REVISIONS:
        raise CommandRefused(
            "invalid",
            f"{MAX_REVISIONS} deliveries have been retried or cancelled while they waited: "
            "no more are accepted until some of them expire",
        )
    fresh = [each for each in requested if each.id not in current or current[each.id].number < each.number]
    renewed = {each.id for each in fresh}
    return fresh, [each for each in expired if each not in renewed]
