"""What the soak remembers of Kafka: what its judge needs, and not whole records, since an hour has many."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from typing import Any

from tests.faults.checker import ASIDE, FINAL
from tests.faults.observer import Observer

_FIELDS = ("endpoint_id", "event_id", "attempt", "state", "result", "reason", "error", "started_at")


class LeanObserver(Observer):
    """Keeps the replays apart."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        super().__init__(bootstrap, prefix)
        #: replay id → (endpoint, event) that came to an end in it
        self.replayed: dict[str, set[tuple[str, str]]] = defaultdict(set)
        #: tenant → event id → when its record was written, in milliseconds since the epoch
        self.written: dict[str, dict[str, int]] = defaultdict(dict)
        self.events = 0
        self.attempts = 0

    def _take(self, topic: str, record: Any) -> None:
        if topic == "deliveries.dead" and any(name == "replay-id" for name, _ in record.headers):
            return
        if topic not in ("events.raw", "attempts"):
            super()._take(topic, record)
            return
        try:
            value = json.loads(record.value)
        except ValueError:
            return  # garbage on purpose
        tenant = value.get("tenant", "default")
        if topic == "events.raw":
            self.events += 1
            event = {"id": value["id"], "type": value["type"]}
            self.tenants[tenant].events.append((record.partition, record.offset, event))
            self.written[tenant].setdefault(value["id"], record.timestamp)
            return
        self.attempts += 1
        if replay := value.get("replay_id"):
            if value["state"] in FINAL and value["result"] != ASIDE:
                self.replayed[replay].add((value["endpoint_id"], value["event_id"]))
            return
        seen = self.tenants[tenant]
        seen.attempts.append({name: value[name] for name in _FIELDS if name in value})
        name = (value["event_id"], value["endpoint_id"], value["attempt"])
        seen.read_at.setdefault(name, asyncio.get_running_loop().time())
