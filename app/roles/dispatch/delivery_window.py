"""Whether an attempt may begin now, by the event's `deliver_at` and `expires_at`.

Rules of this file
- An attempt begins at `deliver_at` or later, by the clock of the worker that sends, and before `expires_at`. An
  attempt in progress is not interrupted.
- A manual retry is sent at once: a person wants this delivery now. Its automatic retries keep to both times again.
- The clock of a delay worker may be ahead of this worker's. A delivery that returns too early for that is due later
  by as much, so that it returns once more and not in a loop.
"""

from __future__ import annotations

from app.core import limits
from app.core.model.delivery import Delivery

#: no record is due later than that, whatever wrote it: the delay ladder would return it at once
_MAX_AHEAD_MS = round(limits.DELIVER_AHEAD_S * 1000)


def scheduled_ms(delivery: Delivery, now_ms: int) -> int | None:
    """When the delivery has to return, in milliseconds since the epoch; None: an attempt may begin now."""
    begin_ms = delivery.deliver_at_ms
    if begin_ms is None or delivery.manual is not None or now_ms >= begin_ms:
        return None
    due_ms = begin_ms if delivery.due_at_ms < begin_ms else delivery.due_at_ms + begin_ms - now_ms
    return min(due_ms, now_ms + _MAX_AHEAD_MS)
