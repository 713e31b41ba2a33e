"""Ordered deliveries between polling and lanes: which may be offered to its lane now (see ordered_deliveries.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from app.core.offsets.partitions import OpenPartition, OpenPartitions, PartitionId
from app.ports.clock import Clock
from app.roles.dispatch.ordered_deliveries import OrderedDeliveries, Step, is_ordered
from app.roles.dispatch.role.settler import OpenDelivery, Settler

logger = structlog.get_logger(__name__)

#: After an assignment, ordered deliveries wait for the records that were there at most this long …
CATCH_UP_S = 20.0
#: … and only until so many of them wait.
CATCH_UP_WAITING = 5_000


class OrderedIntake:
    """Admits the ordered deliveries of one dispatch worker. Each method returns what may go to its lane now."""

    def __init__(self, ordered: OrderedDeliveries[OpenDelivery], settler: Settler, clock: Clock) -> None:
        self._ordered = ordered
        self._settler = settler
        self._clock = clock
        #: partition that is catching up → deadline (monotonic seconds)
        self._catching_up: dict[OpenPartition, float] = {}

    def assigned(self, partitions: OpenPartitions, ends: Mapping[PartitionId, int]) -> None:
        """Partitions were assigned; `ends` are their end offsets."""
        for partition in partitions.of(ends):
            partition.end = ends[partition.place]
            partition.catching_up = True
            self._catching_up[partition] = self._clock.monotonic() + CATCH_UP_S

    def enter(self, work: OpenDelivery) -> list[OpenDelivery]:
        """A delivery was read."""
        return self._apply(self._ordered.enter(work)) if is_ordered(work.delivery) else [work]

    def leave(self, work: OpenDelivery) -> list[OpenDelivery]:
        """It is settled, or its partition was revoked."""
        return self._apply(self._ordered.leave(work)) if is_ordered(work.delivery) else []

    def catch_up(self, position: Callable[[PartitionId], int | None]) -> list[OpenDelivery]:
        """Call it when everything polled has entered; `position` returns the next offset of a partition."""
        go: list[OpenDelivery] = []
        for partition in [each for each in self._catching_up if self._is_done(each, position)]:
            del self._catching_up[partition]
            partition.catching_up = False
            for step in self._ordered.caught_up(partition):
                go += self._apply(step)
        return go

    def _is_done(self, partition: OpenPartition, position: Callable[[PartitionId], int | None]) -> bool:
        if not partition.active:
            return True
        read = position(partition.place)
        if read is not None and read >= partition.end:
            return True
        late = self._clock.monotonic() >= self._catching_up[partition]
        if late or self._ordered.waiting_in(partition) >= CATCH_UP_WAITING:
            logger.warning("dispatch.catch_up_ended", place=partition.place, read=read, end=partition.end)
            return True
        return False

    def _apply(self, step: Step[OpenDelivery]) -> list[OpenDelivery]:
        for work in step.outdated:
            self._settler.drop_outdated(work)
        return [] if step.go is None else [step.go]
