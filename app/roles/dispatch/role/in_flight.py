"""The requests in flight of one dispatch worker, and the copies of deliveries that wait for their end."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from app.core import supersession
from app.core.model.delivery import Delivery, DeliveryRevision
from app.ports.registry import DirectoryFeed
from app.roles.dispatch.role.settler import OpenDelivery

#: revisions that this worker has read itself, before the registry has them
_REMEMBERED = 10_000

#: a delivery's id, which the delivery of a later event may have again, and the coordinates of its event
DeliveryName = tuple[str, str | None]


class _Request:
    __slots__ = ("copies", "ended", "waiting")

    def __init__(self) -> None:
        self.copies = 0
        self.ended: Literal["delivered", "dead"] | None = None
        self.waiting: list[OpenDelivery] = []


class InFlightRequests:
    """Consulted before a delivery is offered to its lane, and again before its request."""

    def __init__(self, feed: DirectoryFeed) -> None:
        self._feed = feed
        self._read: OrderedDict[DeliveryName, DeliveryRevision] = OrderedDict()
        self._requests: dict[DeliveryName, _Request] = {}

    def disposition(self, work: OpenDelivery) -> supersession.CopyDisposition | Literal["wait"]:
        """What becomes of a copy of a delivery; `wait`: `request_ended` returns it."""
        delivery = work.delivery
        revisions = self._feed.directory.revisions
        if not (delivery.revision or revisions or self._read):
            return "go"
        newest = revisions.get(delivery.id)
        if newest is not None and not supersession.concerns(newest, delivery):
            newest = None
        if delivery.revision:
            self._remember(delivery)
        read = self._read.get(_name(delivery))
        if read is not None and (newest is None or read.number > newest.number):
            newest = read
        disposition = supersession.disposition(delivery, newest)
        request = self._requests.get(_name(delivery))
        if request is not None and delivery.manual is not None and disposition != "pass":
            request.waiting.append(work)
            return "wait"
        return disposition

    def request_begins(self, delivery: Delivery) -> None:
        """A request begins; `request_ended` must follow."""
        request = self._requests.get(_name(delivery))
        if request is None:
            request = self._requests[_name(delivery)] = _Request()
        request.copies += 1

    def delivery_ended(self, delivery: Delivery, how: Literal["delivered", "dead"]) -> None:
        """The delivery has ended; its request may be in flight still."""
        request = self._requests.get(_name(delivery))
        if request is not None:
            request.ended = how

    def request_ended(self, delivery: Delivery) -> tuple[list[OpenDelivery], list[OpenDelivery]]:
        """The request has ended. Returns the copies that waited for it: those to continue, and those to supersede."""
        request = self._requests[_name(delivery)]
        request.copies -= 1
        if request.copies:
            return [], []
        del self._requests[_name(delivery)]
        onward, superseded = [], []
        for work in request.waiting:
            left = supersession.after(work.delivery, delivery.attempts + 1, request.ended)
            if left is None:
                superseded.append(work)
            else:
                work.delivery = left
                onward.append(work)
        return onward, superseded

    def _remember(self, delivery: Delivery) -> None:
        name = _name(delivery)
        before = self._read.get(name)
        if before is None or before.number < delivery.revision:
            self._read[name] = DeliveryRevision(id=delivery.id, number=delivery.revision, source=delivery.source)
            self._read.move_to_end(name)
            if len(self._read) > _REMEMBERED:
                self._read.popitem(last=False)


def _name(delivery: Delivery) -> DeliveryName:
    return delivery.id, delivery.source
