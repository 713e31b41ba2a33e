"""The topics: logical names, rungs, and what a declaration means for this installation (DESIGN section 3)."""

from __future__ import annotations

RUNGS: tuple[tuple[str, float], ...] = (
    ("1s", 1.0), ("5s", 5.0), ("30s", 30.0), ("1m", 60.0), ("5m", 300.0), ("30m", 1800.0), ("2h", 7200.0), ("8h", 28800.0),
)  # fmt: skip


class Names:
    EVENTS_RAW = "events.raw"
    EVENTS_REJECTED = "events.rejected"
    REGISTRY_COMMANDS = "registry.commands"
    REGISTRY = "registry"
    REGISTRY_REPLIES = "registry.replies"
    DELIVERIES = "deliveries"
    DELIVERIES_DELAY = "deliveries.delay"
    DELIVERIES_DEAD = "deliveries.dead"
    ATTEMPTS = "attempts"


class Topics:
    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def name(self, logical: str) -> str:
        return self._prefix + logical

    def all_names(self) -> list[str]:
        names = [v for k, v in vars(Names).items() if k.isupper() and v != Names.DELIVERIES_DELAY]
        return [self._prefix + n for n in names + [f"{Names.DELIVERIES_DELAY}.{r}" for r, _ in RUNGS]]
