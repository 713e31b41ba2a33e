"""Tables in memory for plans, and what a plan appends to a topic."""

from __future__ import annotations

from app.core.records.headers import RecordHeader
from app.core.topics.names import TopicName
from app.roles.fanout import reset_detection
from app.roles.fanout.partition_state import PartitionState
from app.roles.fanout.plan import BatchPlan
from app.roles.fanout.reset_detection import Checkpoint, ReadPosition, checkpoint_key, position_key

#: key, headers and value of a planned record
Output = tuple[bytes | None, list[RecordHeader], bytes | None]


class FanoutTables:
    """The tables `idempotency`, `ordering` and `positions` of partition 0."""

    def __init__(self, sequences: dict[bytes, bytes] | None = None) -> None:
        self.tables: dict[str, dict[bytes, bytes | None]] = {
            "idempotency": {},
            "ordering": dict(sequences or {}),
            "positions": {},
        }

    def read(self, table: str, key: bytes) -> bytes | None:
        return self.tables[table].get(key)

    def write(self, plan: BatchPlan) -> None:
        """Write everything that the plan stores, as if its records were acknowledged."""
        for tables in (plan.tables, plan.final_tables):
            for table, entries in tables.items():
                self.tables[table] |= entries

    def state(
        self, position: ReadPosition | None = None, checkpoint: Checkpoint | None = None, start: int = 0
    ) -> PartitionState:
        """An assignment that reads from `start` on, with this stored position and checkpoint."""
        stored = {} if position is None else {position_key(0): reset_detection.write(position)}
        if checkpoint is not None:
            stored[checkpoint_key(0)] = reset_detection.write_checkpoint(checkpoint)
        tables: dict[str, dict[bytes, bytes | None]] = {**self.tables, "positions": {**stored}}
        return PartitionState(0, lambda table, key: tables[table].get(key), group="g", start=start)


def outputs(plan: BatchPlan, topic: str) -> list[Output]:
    return [(each.key, each.headers, each.value) for each in plan.appends if each.topic == topic]


def keys(plan: BatchPlan, topic: str = TopicName.DELIVERIES) -> list[bytes | None]:
    return [each.key for each in plan.appends if each.topic == topic]


def checkpoint_of(plan: BatchPlan) -> Checkpoint | None:
    return reset_detection.read_checkpoint(plan.final_tables.get("positions", {}).get(checkpoint_key(0)))
