"""The roles: their names, and what each reads."""

from __future__ import annotations

from app.core.readmodel.batch import TOPICS as PROJECTED
from app.core.topics.names import RUNGS, Names

ROLES = ("fanout", "dispatch", "sequencer", "delay", "registry", "health", "notifier", "replay", "projection", "api")


#: role → what its consumer group reads
GROUPS = {
    "fanout": [Names.EVENTS_RAW],
    "dispatch": [Names.DELIVERIES],
    "sequencer": [Names.DELIVERIES_ORDERED],
    "delay": [f"{Names.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS],
    "registry": [Names.REGISTRY_COMMANDS],
    "health": [Names.ENDPOINTS_SIGNALS],
    "notifier": [Names.NOTICES],
    "projection": list(PROJECTED),
}
