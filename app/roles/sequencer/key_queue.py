"""Deliveries of one ordering key to one endpoint, one after the other: what is under way, and what has to wait.

Rules of this file (DESIGN guarantee 5)
- A line is one endpoint and one ordering key. At most one delivery of it is under way; the others wait in the order in
  which they arrived.
- A settlement names the arrival that it settles. One that is neither the arrival under way nor the dead one that blocks
  the line says nothing new.
- `applied` is the last offset of the topic that the line knows. What is read again after a crash changes nothing. Only
  the record that let go what is under way asks that it be released once more, since the release may not have been
  written. Nothing else does: what is under way may be in the midst of its retries.
- A delivery that comes back because its endpoint is paused is the head of its line again. Nothing leaves the line until
  somebody lets it go on, so that what waits in a line is always older than what was put aside behind it.
- During the last steps of a resume fresh arrivals are *held* at the tail of their line: what the resume still brings
  goes before them, and they leave when their endpoint's gate is opened (roles/sequencer/resume_gate.py).
- A delivery that has ended as dead blocks its line or not, as the endpoint wants it. A blocked line only grows, until
  somebody skips the dead one, retries it with success, or drops all. Skipping also gives up on what is under way and
  never comes back.

    arrival ──▶ [waiting] ──▶ release ──▶ under way ──▶ settled ──▶ the next one
                                              │ dead, and the endpoint says block
                                              ▼
                                           blocked ──▶ skip ──▶ the next one
"""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.records.ordered import SettledAs

#: deliveries that may wait in one line
MAX_WAITING = 10_000


class KeyQueue(msgspec.Struct, frozen=True, array_like=True):
    """The value of the table `queues`. Offsets are of the line's partition of deliveries.ordered."""

    applied: int = -1
    #: the arrival under way; -1: none
    flying: int = -1
    #: waiting arrivals, ascending
    waiting: tuple[int, ...] = ()
    #: the dead arrival that the line waits behind; -1: it is not blocked
    blocked: int = -1
    #: the record that let go what is under way; -1: none
    cause: int = -1
    #: how many of the waiting ones, at the tail, are held: they do not leave yet
    held: int = 0


class ReleaseNext(msgspec.Struct, frozen=True):
    """Append this arrival to `deliveries`."""

    offset: int


class ReleaseAgain(msgspec.Struct, frozen=True):
    """Append it again, unless that was done since these records were first read again."""

    offset: int


class StoreRecord(msgspec.Struct, frozen=True):
    """Remember this arrival's record."""

    offset: int


class DropRecord(msgspec.Struct, frozen=True):
    """Remember it no longer."""

    offset: int


class DeadLetter(msgspec.Struct, frozen=True):
    """Put this arrival into deliveries.dead."""

    offset: int
    reason: Literal["ordering_limit", "ordering_dropped", "paused"]


QueueAction = ReleaseNext | ReleaseAgain | StoreRecord | DropRecord | DeadLetter


def arrive(
    line: KeyQueue, offset: int, limit: int = MAX_WAITING, *, hold: bool = False
) -> tuple[KeyQueue, list[QueueAction]]:
    """A delivery has arrived at `offset`; it goes before those that are held, or is held itself."""
    if offset <= line.applied:
        orders = again(line, offset)
        return line, [StoreRecord(offset), *orders] if is_known(line, offset) else orders
    line = msgspec.structs.replace(line, applied=offset)
    if not hold and line.flying < 0 and line.blocked < 0 and len(line.waiting) == line.held:
        return msgspec.structs.replace(line, flying=offset, cause=offset), [StoreRecord(offset), ReleaseNext(offset)]
    if len(line.waiting) >= limit:
        return line, [DeadLetter(offset, "ordering_limit")]
    if hold:
        return msgspec.structs.replace(line, waiting=(*line.waiting, offset), held=line.held + 1), [StoreRecord(offset)]
    place = len(line.waiting) - line.held
    waiting = (*line.waiting[:place], offset, *line.waiting[place:])
    return msgspec.structs.replace(line, waiting=waiting), [StoreRecord(offset)]


def put_aside(line: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """A delivery has arrived at `offset` that does not enter the line: a resume brings it later."""
    if offset <= line.applied:
        return line, again(line, offset)
    return msgspec.structs.replace(line, applied=offset), [DeadLetter(offset, "paused")]


def settle(
    line: KeyQueue, offset: int, settled: int, outcome: SettledAs, *, block: bool
) -> tuple[KeyQueue, list[QueueAction]]:
    """The record at `offset` says what became of the arrival at `settled`; one that is `parked` is to be kept anew."""
    if offset <= line.applied:
        return line, again(line, offset)
    line = msgspec.structs.replace(line, applied=offset)
    if settled == line.blocked and outcome in ("delivered", "cancelled"):  # it was retried after its end
        return unblock(line, offset)
    if settled == line.blocked and outcome == "parked":
        return msgspec.structs.replace(line, blocked=-1, waiting=(settled, *line.waiting)), []
    if settled != line.flying:
        return line, []
    if outcome == "parked":
        return msgspec.structs.replace(line, flying=-1, waiting=(settled, *line.waiting), cause=-1), []
    if outcome == "dead" and block:
        return msgspec.structs.replace(line, flying=-1, blocked=settled, cause=-1), []
    return _next(msgspec.structs.replace(line, flying=-1), offset, [DropRecord(settled)])


def skip(line: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Somebody has said at `offset`: go on behind the dead one, or behind what is under way."""
    if offset <= line.applied:
        return line, again(line, offset)
    line = msgspec.structs.replace(line, applied=offset)
    if line.blocked >= 0:
        return unblock(line, offset)
    if line.flying < 0:
        return line, []
    return _next(msgspec.structs.replace(line, flying=-1), offset, [DropRecord(line.flying)])


def unblock(line: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """The dead one is not to be waited for (any more), as the record at `offset` shows."""
    if line.blocked < 0:
        return line, []
    return _next(msgspec.structs.replace(line, blocked=-1), offset, [DropRecord(line.blocked)])


def drop(line: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """Somebody has said at `offset`: give up everything that waits."""
    if offset <= line.applied:
        return line, again(line, offset)
    orders: list[QueueAction] = [DeadLetter(each, "ordering_dropped") for each in line.waiting]
    if line.blocked >= 0:
        orders.append(DropRecord(line.blocked))
    return msgspec.structs.replace(line, applied=offset, waiting=(), blocked=-1, held=0), orders


def go_on(line: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """The record at `offset` shows that the endpoint takes deliveries again; those that are held stay."""
    if line.flying >= 0 or line.blocked >= 0 or len(line.waiting) == line.held:
        return line, again(line, offset)
    return _next(line, offset, [])


def let_go(line: KeyQueue, offset: int) -> tuple[KeyQueue, list[QueueAction]]:
    """The record at `offset` shows that nothing is to be held any more."""
    return go_on(msgspec.structs.replace(line, held=0) if line.held else line, offset)


def retreat(line: KeyQueue) -> tuple[KeyQueue, list[QueueAction]]:
    """Those that are held do not stay: a resume brings them later."""
    if not line.held:
        return line, []
    place = len(line.waiting) - line.held
    orders: list[QueueAction] = [DeadLetter(each, "paused") for each in line.waiting[place:]]
    return msgspec.structs.replace(line, waiting=line.waiting[:place], held=0), orders


def again(line: KeyQueue, offset: int) -> list[QueueAction]:
    """`offset` is read again. Its own record asks, too: the release may have found nothing kept yet."""
    return [ReleaseAgain(line.flying)] if line.flying >= 0 and offset in (line.cause, line.flying) else []


def is_known(line: KeyQueue, offset: int) -> bool:
    """Whether the line still has to do with the arrival at `offset`."""
    return offset in (line.flying, line.blocked) or offset in line.waiting


def is_idle(line: KeyQueue) -> bool:
    """Whether nothing of it is under way or waits."""
    return line.flying < 0 and line.blocked < 0 and not line.waiting


def _next(line: KeyQueue, offset: int, orders: list[QueueAction]) -> tuple[KeyQueue, list[QueueAction]]:
    if len(line.waiting) == line.held:
        return msgspec.structs.replace(line, cause=-1), orders
    first, *rest = line.waiting
    return msgspec.structs.replace(line, flying=first, waiting=tuple(rest), cause=offset), [*orders, ReleaseNext(first)]
