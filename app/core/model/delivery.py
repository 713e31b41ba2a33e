"""One event on its way to one endpoint."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.model.event import EventFormat, Mode


class DeliveryRevision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last manual action on a delivery; the value of `revision/<delivery id>` in registry.

    Copies of the delivery with earlier revisions are superseded, wherever they wait (core/supersession.py).
    """

    #: the delivery's id
    id: str
    #: the revision: the time of the action, in milliseconds since the epoch; grows with each action
    number: int
    #: copies of earlier revisions end as cancelled, because there is no copy with this revision
    cancel: bool = False
    #: the event's coordinates in events.raw, `<partition>:<offset>`; null: unknown
    source: str | None = None


#: an action on request: an attempt at once, or the end of the delivery
ManualAction = Literal["retry", "cancel"]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one endpoint; a record of `deliveries` and of its delay topics."""

    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    tenant: str
    mode: Mode
    created_at: str
    #: the value of the event's record, byte for byte
    body: bytes
    format: EventFormat = "native"
    #: when the event was appended to events.raw, in milliseconds since the epoch
    accepted_at_ms: int = 0
    #: the number of attempts so far
    attempts: int = 0
    #: when the next attempt is due, in milliseconds since the epoch; 0: at once
    due_at_ms: int = 0
    #: since when a due attempt waits for its endpoint, in milliseconds since the epoch; 0: none waits
    waiting_since_ms: int = 0
    sequence: int | None = None
    ordering_key: str | None = None
    replay_id: str = ""
    traceparent: str | None = None
    #: further attributes of a binary CloudEvent, as a JSON object of texts
    attributes: str | None = None
    #: the offset of its arrival in deliveries.ordered; None: it is not ordered
    arrival: int | None = None
    #: the offset of the record in deliveries.ordered that released it; grows within its key queue. None: not ordered
    released: int | None = None
    #: grows with each manual action; 0: there was none
    revision: int = 0
    #: the manual action that this copy carries out; None: none, or it is a retry after one
    manual: ManualAction | None = None
    #: the event's coordinates in events.raw, `<partition>:<offset>`; None: unknown
    source: str | None = None
    #: the leaf of the subject whose key opens the body (core/subject_tree.py); None: the body is not sealed
    sealed: str | None = None
    #: bytes of the body that were left out because a topic did not take them; 0: it is complete
    omitted: int = 0
    #: no attempt before it, in milliseconds since the epoch; None: at once
    deliver_at_ms: int | None = None
    #: no attempt from then on, in milliseconds since the epoch; None: it does not expire
    expires_at_ms: int | None = None

    def has_expired(self, now_ms: int) -> bool:
        """Whether its time is over: `expires_at` has come, and it is not a manual retry."""
        return self.expires_at_ms is not None and self.manual is None and now_ms >= self.expires_at_ms

    @property
    def wanted_at_ms(self) -> int:
        """When the receiver should have it: as soon as it is accepted, or at its `deliver_at`. 0: unknown."""
        if self.deliver_at_ms is None or not self.accepted_at_ms:
            return self.accepted_at_ms
        return max(self.accepted_at_ms, self.deliver_at_ms)
