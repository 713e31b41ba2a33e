"""Gauges of the process's own state, set once a second: readiness, assigned partitions, recovery, endpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from app.core.model.replay import ReplayState
from app.core.offsets.progress import RoleReport
from app.ports.metrics import Meter
from app.ports.registry import DirectoryFeed
from app.runtime.roles import GROUPS
from app.runtime.supervisor import Role

#: of replays that have not ended
_OPEN: tuple[ReplayState, ...] = ("pending", "running", "paused")


class StateGauges:
    """Sets gauges from the state of the process; queries neither Kafka nor a database."""

    def __init__(
        self,
        meter: Meter,
        readiness: Callable[[], Mapping[str, str | None]],
        running: Callable[[str], Role | None],
        feed: DirectoryFeed,
        roles: tuple[str, ...],
    ) -> None:
        """`running` returns the present instance of a role, or None between two."""
        self._meter = meter
        self._readiness = readiness
        self._running = running
        self._feed = feed
        self._roles = [role for role in roles if role in GROUPS]

    def set(self) -> None:
        """Set all of them."""
        for check, reason in self._readiness().items():
            self._meter.gauge("ready", 0 if reason else 1, check=check)
        for role in self._roles:
            instance = self._running(role)
            report = None if instance is None else instance.report()
            self._meter.gauge("partitions_assigned", _assigned(report), role=role)
            self._meter.gauge("table_recovery_records", report.unrecovered if report else 0, role=role)
            self._meter.gauge("role_settling", 0 if report and report.settling is None else 1, role=role)
        states = Counter(replay.state for replay in self._feed.directory.replays.values())
        for state in _OPEN:
            self._meter.gauge("replays", states[state], state=state)
        for status, number in self._feed.directory.census().items():
            self._meter.gauge("endpoints", number, state=status)


def _assigned(report: RoleReport | None) -> int:
    if report is None:
        return 0
    return len(report.places) if report.assigned is None else report.assigned
