"""Whether external systems, such as Kafka, answer: logged per change, as a gauge and for `/readyz`."""

from __future__ import annotations

import structlog

from app.core.errors import Defect
from app.ports.clock import Clock
from app.ports.metrics import Meter

logger = structlog.get_logger(__name__)

#: all names. `database`: writes of the projection; `database_reads`: queries of the API
NAMES = ("kafka", "database", "database_reads", "mail_server", "dns", "egress_proxy", "schema_registry")
_LONGEST = 500


class _Status:
    """`app.ports.dependencies.Dependency`."""

    def __init__(self, name: str, clock: Clock, meter: Meter) -> None:
        self._name = name
        self._clock = clock
        self._meter = meter
        self._was_observed = False
        self._since_s = 0.0
        self.trouble: str | None = None

    def up(self) -> None:
        if self.trouble is not None:
            seconds = round(self._clock.monotonic() - self._since_s, 1)
            logger.warning("dependency.up", dependency=self._name, down_s=seconds)
        if self.trouble is not None or not self._was_observed:
            self._change(1)
        self.trouble = None

    def down(self, reason: str) -> None:
        reason = " ".join(reason.split())[:_LONGEST]
        if self.trouble is None:
            self._since_s = self._clock.monotonic()
            logger.error("dependency.down", dependency=self._name, reason=reason)
            self._change(0)
        self.trouble = reason

    def _change(self, value: int) -> None:
        self._was_observed = True
        self._meter.gauge("dependency_up", value, dependency=self._name)
        if self._name == "kafka":
            self._meter.gauge("kafka_up", value)

    @property
    def state(self) -> str | None:
        """`up`, or the reason why it is down; None before its first use."""
        return (self.trouble or "up") if self._was_observed else None


class Dependencies:
    """The dependencies of a process."""

    def __init__(self, clock: Clock, meter: Meter) -> None:
        self._statuses = {name: _Status(name, clock, meter) for name in NAMES}

    def of(self, name: str) -> _Status:
        """The status of one of `NAMES`, always the same object."""
        if name not in self._statuses:
            raise Defect(f"{name} is no dependency: one of {', '.join(NAMES)}")
        return self._statuses[name]

    def states(self) -> dict[str, str]:
        """Name → `up`, or the reason why it is down, for the dependencies that have been used."""
        return {name: status.state for name, status in self._statuses.items() if status.state is not None}
