"""Ordered deliveries between intake and lanes: which may be offered to its lane now (rules in
roles/dispatch/lines.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from app.core.offsets.partitions import OpenPartition, OpenPartitions, PartitionId
from app.ports.clock import Clock
from app.roles.dispatch.lines import Lines, Step, is_ordered
from app.roles.dispatch.role.settler import OpenDelivery, Settler

log = structlog.get_logger(__name__)

#: so long after an assignment ordered deliveries wait at most for the records that were there
CATCH_UP_S = 20.0
#: and so many of them
CATCH_UP_HELD = 5_000


class InLine:
    """The lines of one dispatch worker. Each answer is what may go to its lane now."""

    def __init__(self, lines: Lines[OpenDelivery], settler: Settler, clock: Clock) -> None:
        self._lines = lines
        self._settler = settler
        self._clock = clock
        #: partitions that catch up → until when (monotonic)
        self._catching_up: dict[OpenPartition, float] = {}

    def assigned(self, partitions: OpenPartitions, ends: Mapping[PartitionId, int]) -> None:
        """These are ours from now on, with records up to `ends`."""
        for partition in partitions.of(ends):
            partition.end = ends[partition.place]
            partition.catching_up = True
            self._catching_up[partition] = self._clock.monotonic() + CATCH_UP_S

    def enter(self, work: OpenDelivery) -> list[OpenDelivery]:
        """It has been read."""
        return self._obey(self._lines.take(work)) if is_ordered(work.delivery) else [work]

    def left(self, work: OpenDelivery) -> list[OpenDelivery]:
        """It is settled, or its partition is lost."""
        return self._obey(self._lines.left(work)) if is_ordered(work.delivery) else []

    def catch_up(self, position: Callable[[PartitionId], int | None]) -> list[OpenDelivery]:
        """Everything that was polled has entered; `position` says what is read next of a partition."""
        go: list[OpenDelivery] = []
        for partition in [each for each in self._catching_up if self._is_done(each, position)]:
            del self._catching_up[partition]
            partition.catching_up = False
            for step in self._lines.caught_up(partition):
                go += self._obey(step)
        return go

    def _is_done(self, partition: OpenPartition, position: Callable[[PartitionId], int | None]) -> bool:
        if not partition.active:
            return True
        read = position(partition.place)
        if read is not None and read >= partition.end:
            return True
        late = self._clock.monotonic() >= self._catching_up[partition]
        if late or self._lines.held_back(partition) >= CATCH_UP_HELD:
            log.warning("dispatch.catch_up_ended", place=partition.place, read=read, end=partition.end)
            return True
        return False

    def _obey(self, step: Step[OpenDelivery]) -> list[OpenDelivery]:
        for work in step.over:
            self._settler.over(work)
        return [] if step.go is None else [step.go]
