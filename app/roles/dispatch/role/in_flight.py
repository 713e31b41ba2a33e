"""What a dispatch worker knows of the revisions of deliveries, and which copies wait for the end of a request."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from app.core import supersession
from app.core.model.delivery import Delivery, DeliveryRevision
from app.ports.registry import DirectoryFeed
from app.roles.dispatch.role.settler import OpenDelivery

#: revisions that this worker has read itself, before the registry tells of them
_REMEMBERED = 10_000

#: of a delivery: its id, which a later event may have again, and where its event is
RequestName = tuple[str, str | None]


class _Flight:
    __slots__ = ("behind", "copies", "ended")

    def __init__(self) -> None:
        self.copies = 0
        self.ended: Literal["delivered", "dead"] | None = None
        self.behind: list[OpenDelivery] = []


class InFlightRequests:
    """Asked before a delivery is offered to its lane, and again before its request."""

    def __init__(self, feed: DirectoryFeed) -> None:
        self._feed = feed
        self._read: OrderedDict[RequestName, DeliveryRevision] = OrderedDict()
        self._flights: dict[RequestName, _Flight] = {}

    def fate(self, work: OpenDelivery) -> supersession.CopyDisposition | Literal["held"]:
        """What becomes of it; held: it is given back by `landed`."""
        delivery = work.delivery
        known = self._feed.directory.revisions
        if not (delivery.revision or known or self._read):
            return "go"
        newest = known.get(delivery.id)
        if newest is not None and not supersession.concerns(newest, delivery):
            newest = None
        if delivery.revision:
            self._remember(delivery)
        read = self._read.get(_name(delivery))
        if read is not None and (newest is None or read.number > newest.number):
            newest = read
        fate = supersession.disposition(delivery, newest)
        flight = self._flights.get(_name(delivery))
        if flight is not None and delivery.manual is not None and fate != "pass":
            flight.behind.append(work)
            return "held"
        return fate

    def departs(self, delivery: Delivery) -> None:
        """A request begins; `landed` must follow."""
        flight = self._flights.get(_name(delivery))
        if flight is None:
            flight = self._flights[_name(delivery)] = _Flight()
        flight.copies += 1

    def ended(self, delivery: Delivery, how: Literal["delivered", "dead"]) -> None:
        """The delivery has ended with the request under way."""
        flight = self._flights.get(_name(delivery))
        if flight is not None:
            flight.ended = how

    def landed(self, delivery: Delivery) -> tuple[list[OpenDelivery], list[OpenDelivery]]:
        """The request has ended: what has waited for it and goes on, and what is to be passed over."""
        flight = self._flights[_name(delivery)]
        flight.copies -= 1
        if flight.copies:
            return [], []
        del self._flights[_name(delivery)]
        onward, over = [], []
        for work in flight.behind:
            left = supersession.after(work.delivery, delivery.attempts + 1, flight.ended)
            if left is None:
                over.append(work)
            else:
                work.delivery = left
                onward.append(work)
        return onward, over

    def _remember(self, delivery: Delivery) -> None:
        name = _name(delivery)
        known = self._read.get(name)
        if known is None or known.number < delivery.revision:
            self._read[name] = DeliveryRevision(id=delivery.id, number=delivery.revision, source=delivery.source)
            self._read.move_to_end(name)
            if len(self._read) > _REMEMBERED:
                self._read.popitem(last=False)


def _name(delivery: Delivery) -> RequestName:
    return delivery.id, delivery.source
