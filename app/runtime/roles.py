"""The roles: their names, and what each reads."""

from __future__ import annotations

from app.core.readmodel.batch import TOPICS as PROJECTED
from app.core.topics.names import RUNGS, TopicName

ROLES = ("fanout", "dispatch", "sequencer", "delay", "registry", "health", "notifier", "replay", "projection", "api")


#: role → what its consumer group reads
GROUPS = {
    "fanout": [TopicName.EVENTS_RAW],
    "dispatch": [TopicName.DELIVERIES],
    "sequencer": [TopicName.DELIVERIES_ORDERED],
    "delay": [f"{TopicName.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS],
    "registry": [TopicName.REGISTRY_COMMANDS],
    "health": [TopicName.ENDPOINTS_SIGNALS],
    "notifier": [TopicName.NOTICES],
    "projection": list(PROJECTED),
}
