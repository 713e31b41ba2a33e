"""Judge the roles of a process with each sample of their groups' offsets, and pass the verdicts to the supervisor."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.adapters.kafka.lag_sampler import EVERY_S
from app.core.offsets.partitions import PartitionId
from app.core.offsets.progress import GroupSpan
from app.ports.clock import Clock
from app.runtime.supervisor import Role, Supervisor
from app.runtime.watchdog import Healthy, RoleWatch, Stuck, Suspect, WatchdogLimits
from app.settings import Settings


def limits_of(settings: Settings) -> WatchdogLimits:
    """The limits of the watchdog from the settings."""
    return WatchdogLimits(
        suspect_s=settings.watchdog_suspect_seconds,
        stuck_s=settings.watchdog_stuck_seconds,
        settling_s=settings.watchdog_recovery_seconds,
    )


def every_s(limits: WatchdogLimits) -> float:
    """Seconds between two checks, short in comparison with the limits."""
    return min([EVERY_S, *(limit / 4 for limit in (limits.suspect_s, limits.stuck_s, limits.settling_s) if limit)])


class WatchdogLoop:
    """The judges of all roles that read logs."""

    def __init__(
        self,
        limits: WatchdogLimits,
        clock: Clock,
        supervisor: Supervisor,
        roles: Mapping[str, str],
        held_until_s: Callable[[], float | None],
    ) -> None:
        """`roles`: consumer group → role. `held_until_s`: how long all of them may wait for acknowledgements."""
        self._limits = limits
        self._clock = clock
        self._supervisor = supervisor
        self._roles = roles
        self._held_until_s = held_until_s
        self._watches: dict[str, tuple[Role, RoleWatch]] = {}

    def look(self, group: str, spans: Mapping[PartitionId, GroupSpan] | None) -> None:
        """A sample of a group; None: Kafka does not answer."""
        name = self._roles[group]
        role = self._supervisor.running(name)
        if role is None:
            return
        watch = self._watches.get(name)
        if watch is None or watch[0] is not role:
            watch = self._watches[name] = (role, RoleWatch(self._limits, every_s(self._limits)))
        now_s = self._clock.monotonic()
        held_s = self._held_until_s()
        verdict = watch[1].judge(now_s, role.report(), None if held_s is not None and now_s < held_s else spans)
        match verdict:
            case Healthy():
                self._supervisor.suspect(name, None)
            case Suspect(reason=reason):
                self._supervisor.suspect(name, reason)
            case Stuck(reason=reason):
                self._supervisor.stuck(name, reason)
