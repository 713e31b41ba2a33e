"""A delivery that is retried or cancelled while it waits: which of its copies counts.

Rules of this file
- A retry or cancellation on request appends a copy of the delivery to `deliveries`, with a turn that is larger than any
  before. The copy that waits (in the ladder, a lane, a line of the sequencer) stays where it is: Kafka cannot take it
  back. Whoever meets it there passes it over, since the registry knows a newer turn of that delivery.
- First the copy is appended, then the turn is written to the registry. A crash between the two leaves two copies that
  count, so the receiver may get the event once more; it never leaves none.
- A copy of the newest turn waits for the end of the request of an older one, if that is under way: the delivery has one
  outcome, and its attempts one count.
- A turn is forgotten after longer than anything waits in the ladder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Literal

import msgspec

from app.core.errors import CommandRefused
from app.core.model import Delivery, Turn

#: longer than any copy waits in the ladder (delivery_record.due_at_ms), and for its endpoint (waiting.MOST_MS)
KEPT_MS = 16 * 86_400_000
#: they are in the memory of every process
MAX_TURNS = 50_000
#: of one command
MAX_TAKEN = 1000

Fate = Literal["go", "pass", "cancel"]


def fate(delivery: Delivery, newest: Turn | None) -> Fate:
    """What becomes of a copy of a delivery, where `newest` is the registry's turn of it."""
    if newest is not None and newest.number > delivery.turn:
        return "cancel" if newest.cancel else "pass"
    return "cancel" if delivery.asked == "cancel" else "go"


def after(waiting: Delivery, attempts: int, ended: Literal["delivered", "dead"] | None) -> Delivery | None:
    """What becomes of a copy that has waited for an older one's request: that was the attempt number `attempts`, and
    with it the delivery `ended` or did not. None: there is nothing more to do.
    """
    if ended == "delivered" or (ended == "dead" and waiting.asked == "cancel"):
        return None
    return msgspec.structs.replace(waiting, attempts=max(waiting.attempts, attempts))


def take(asked: Sequence[Turn], known: Mapping[str, Turn], now_ms: int) -> tuple[list[Turn], list[str]]:
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
