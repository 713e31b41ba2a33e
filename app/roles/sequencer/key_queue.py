"""The key queue: deliveries of one ordering key to one endpoint, of which at most one is in flight.

Rules of this file (DESIGN guarantee 5)
- A key queue belongs to one endpoint and one ordering key. At most one of its deliveries is in flight; the others wait
  in the order in which they arrived.
- A settlement names the arrival that it settles. It has no effect unless that arrival is in flight, or is the dead one
  that blocks the queue.
- `applied` is the last offset of the topic that the queue has processed. Records that are read again after a crash
  change nothing. Only the record that released the delivery in flight releases it again, because the release may not
  have been written. No other record does, because the delivery may be between two of its retries.
- A delivery that returns because its endpoint is paused becomes the head of its queue again. Nothing leaves the queue
  until the endpoint takes deliveries, so deliveries waiting in a queue are always older than those parked behind it.
- During the last steps of a resume new arrivals are *held* at the tail of their queue: parked deliveries, which the
  resume appends, go before them. They leave when the endpoint's gate opens (roles/sequencer/resume_gate.py).
- A delivery that ended as dead blocks its queue if the endpoint's `on_exhausted` is `block`. A blocked queue only grows
  until an operator skips the dead delivery or drops all, or a retry of it succeeds. An operator can also skip a
  delivery in flight that is never settled.

    arrival ──▶ [waiting] ──▶ released ──▶ in flight ──▶ settled ──▶ the next one
                                              │ dead, and on_exhausted is block
                                              ▼
                                           blocked ──▶ skip ──▶ the next one
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.records.ordered import SettledAs

#: deliveries that may wait in one queue
MAX_WAITING = 10_000


class KeyQueue(msgspec.Struct, frozen=True, array_like=True):
    """The value of the table `queues`; its key is the endpoint's id, a line feed and the ordering key.

    All numbers but `held` are offsets in the queue's partition of deliveries.ordered.
    """

    #: the last record processed; -1: none
    applied: int = -1
    #: the arrival in flight; -1: none
    in_flight: int = -1
    #: waiting arrivals, ascending
    waiting: tuple[int, ...] = ()
    #: the dead arrival that blocks the queue; -1: it is not blocked
    blocked: int = -1
    #: the record that released the arrival in flight; -1: none is in flight
    cause: int = -1
    #: how many of the waiting arrivals, counted from the tail, are held until the gate opens
    held: int = 0


class ReleaseNext(msgspec.Struct, frozen=True):
    """Append this arrival to `deliveries`."""

    offset: int


class ReleaseAgain(msgspec.Struct, frozen=True):
    """Append it again, unless this worker has already released it."""

    offset: int


class StoreRecord(msgspec.Struct, frozen=True):
    """Write this arrival's record to the table `waiting`."""

    offset: int


class DropRecord(msgspec.Struct, frozen=True):
    """Remove this arrival's record from the table `waiting`."""

    offset: int


class DeadLetter(msgspec.Struct, frozen=True):
    """Append this arrival to deliveries.dead."""

    offset: int
    reason: Literal["ordering_limit", "ordering_dropped", "paused"]


QueueAction = ReleaseNext | ReleaseAgain | StoreRecord | DropRecord | DeadLetter


def arrive(
    queue: KeyQueue, offset: int, limit: int = MAX_WAITING, *, hold: bool = False
) -> tuple[KeyQueue, list[QueueAction]]:
    """Add the delivery that arrived at `offset`: with `hold` at the tail as held, else before those that are held."""
    if offset <= queue.applied:
        actions = again(queue, offset)
        return queue, [StoreRecord(offset), *actions] if contains(queue, offset) else actions
    queue = msgspec.structs.replace(queue, applied=offset)
    if not hold and queue.in_flight < 0 and queue.blocked < 0 and len(queue.waiting) == queue.held:
        queue = msgspec.structs.replace(queue, in_flight=offset, cause=offset)
        return queue, [StoreRecord(offset), ReleaseNext(offset)]
    if len(queue.waiting) >= limit:
        return queue, [DeadLetter(offset, "ordering_limit")]
    if hold:
        queue = msgspec.structs.replace(queue, waiting=(*queue.waiting, offset), held=queue.held + 1)
        return queue, [StoreRecord(offset)]
    place = len(queue.waiting) - queue.held
    waiting = (*queue.waiting[:place], offset, *queue.waiting[place:])
    return msgspec.structs.replace(queue, waiting=waiting), [StoreRecord(offset)]


def park(queue: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Park the delivery that arrived at `offset`: it stays out of the queue until a resume appends it again."""
    if offset <= queue.applied:
        return queue, again(queue, offset)
    return msgspec.structs.replace(queue, applied=offset), [DeadLetter(offset, "paused")]


def settle(
    queue: KeyQueue, offset: int, arrival: int, outcome: SettledAs, *, block: bool
) -> tuple[KeyQueue, list[QueueAction]]:
    """Apply the settlement of `arrival` that was read at `offset`; one that is `parked` waits again as the head."""
    if offset <= queue.applied:
        return queue, again(queue, offset)
    queue = msgspec.structs.replace(queue, applied=offset)
    if arrival == queue.blocked and outcome in ("delivered", "cancelled"):  # it was retried after it had ended as dead
        return unblock(queue, offset)
    if arrival == queue.blocked and outcome == "parked":
        return msgspec.structs.replace(queue, blocked=-1, waiting=(arrival, *queue.waiting)), []
    if arrival != queue.in_flight:
        return queue, []
    if outcome == "parked":
        return msgspec.structs.replace(queue, in_flight=-1, waiting=(arrival, *queue.waiting), cause=-1), []
    if outcome == "dead" and block:
        return msgspec.structs.replace(queue, in_flight=-1, blocked=arrival, cause=-1), []
    return _next(msgspec.structs.replace(queue, in_flight=-1), offset, [DropRecord(arrival)])


def skip(queue: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Apply an operator's `skip` at `offset`: release the next delivery behind the dead one or the one in flight."""
    if offset <= queue.applied:
        return queue, again(queue, offset)
    queue = msgspec.structs.replace(queue, applied=offset)
    if queue.blocked >= 0:
        return unblock(queue, offset)
    if queue.in_flight < 0:
        return queue, []
    return _next(msgspec.structs.replace(queue, in_flight=-1), offset, [DropRecord(queue.in_flight)])


def unblock(queue: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Stop waiting for the dead delivery, because of the record at `offset`, and release the next one."""
    if queue.blocked < 0:
        return queue, []
    return _next(msgspec.structs.replace(queue, blocked=-1), offset, [DropRecord(queue.blocked)])


def drop(queue: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Apply an operator's `drop` at `offset`: everything that waits becomes a dead letter."""
    if offset <= queue.applied:
        return queue, again(queue, offset)
    actions: list[QueueAction] = [DeadLetter(each, "ordering_dropped") for each in queue.waiting]
    if queue.blocked >= 0:
        actions.append(DropRecord(queue.blocked))
    return msgspec.structs.replace(queue, applied=offset, waiting=(), blocked=-1, held=0), actions


def release_next(queue: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Release the head: the record at `offset` shows that the endpoint takes deliveries. Held arrivals stay."""
    if queue.in_flight >= 0 or queue.blocked >= 0 or len(queue.waiting) == queue.held:
        return queue, again(queue, offset)
    return _next(queue, offset, [])


def release_all(queue: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Hold nothing any more, because of the record at `offset`, and release the head."""
    return release_next(msgspec.structs.replace(queue, held=0) if queue.held else queue, offset)


def park_held(queue: KeyQueue) -> tuple[KeyQueue, list[QueueAction]]:
    """Park the held arrivals: a later resume appends them again."""
    if not queue.held:
        return queue, []
    place = len(queue.waiting) - queue.held
    actions: list[QueueAction] = [DeadLetter(each, "paused") for each in queue.waiting[place:]]
    return msgspec.structs.replace(queue, waiting=queue.waiting[:place], held=0), actions


def again(queue: KeyQueue, offset: int) -> list[QueueAction]:
    """What to do when the record at `offset` is read again.

    The record of the arrival in flight releases it again, too: when it was released, it may not have been stored.
    """
    return [ReleaseAgain(queue.in_flight)] if queue.in_flight >= 0 and offset in (queue.cause, queue.in_flight) else []


def contains(queue: KeyQueue, offset: int) -> bool:
    """Whether the arrival at `offset` is in flight, waits, or blocks the queue."""
    return offset in (queue.in_flight, queue.blocked) or offset in queue.waiting


def is_idle(queue: KeyQueue) -> bool:
    """Whether the queue has nothing in flight, waiting or blocked."""
    return queue.in_flight < 0 and queue.blocked < 0 and not queue.waiting


def _next(queue: KeyQueue, offset: int, actions: list[QueueAction]) -> tuple[KeyQueue, list[QueueAction]]:
    if len(queue.waiting) == queue.held:
        return msgspec.structs.replace(queue, cause=-1), actions
    first, *rest = queue.waiting
    queue = msgspec.structs.replace(queue, in_flight=first, waiting=tuple(rest), cause=offset)
    return queue, [*actions, ReleaseNext(first)]
