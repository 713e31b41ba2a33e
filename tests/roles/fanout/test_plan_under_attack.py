"""Rule 4 and 5 under attack: two workers that crash, lose the ends of their stores and changelogs, and read again.

Whatever happens, and wherever batches and events are cut into slices, what is delivered is what one undisturbed pass
over the log delivers: the same records to the same endpoints, with the same sequences.
"""

from __future__ import annotations

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.records.delivery import decode
from app.core.topics.names import TopicName
from app.roles.fanout.partition_state import PartitionState
from app.roles.fanout.plan import BatchPlan, BatchPlanner
from app.roles.fanout.rules import FanoutRules
from tests.roles.fanout.planning import outputs

TTL = 100
RULES = FanoutRules(topic="events.raw", ttl_ms=TTL, max_event_bytes=2000)
DIRECTORY = Directory()
for id_ in ("ep_a", "ep_b", "ep_c"):
    DIRECTORY.put_endpoint(
        Endpoint(id=id_, tenant="default", mode="live", url="https://x.example", events=("*",), profile="standard")
    )
Writes = list[tuple[bytes, bytes | None]]


class Record(msgspec.Struct, frozen=True):
    offset: int
    timestamp: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
    key: bytes | None = b"k"
    partition: int = 0


def log_of(said: list[tuple[str | None, str | None, int]]) -> list[Record]:
    """(idempotency key, ordering key, milliseconds since the record before)"""
    clock, log = 1000, []
    for offset, (key, ordering_key, elapsed) in enumerate(said):
        clock += elapsed
        event = {"type": "a.b", "data": offset, "idempotency_key": key, "ordering_key": ordering_key}
        log.append(Record(offset, clock, json.dumps(event).encode()))
    return log


class Table:
    """The changelog as Kafka has it, and the stores of two workers, as what was written to them in order."""

    def __init__(self) -> None:
        self.changelog: Writes = []
        self.stores: list[Writes] = [[], []]
        #: how much of the changelog was there when the worker took over for the last time
        self.seen = [0, 0]

    def take_over(self, worker: int) -> dict[bytes, bytes | None]:
        """Recover as Faust does: what the changelog has had since, over what is on the disk."""
        self.stores[worker] += self.changelog[self.seen[worker] :]
        self.seen[worker] = len(self.changelog)
        return dict(self.stores[worker])

    def lose_disk(self, worker: int) -> None:
        """The folder is gone."""
        self.stores[worker], self.seen[worker] = [], 0


class World:
    """One partition of events.raw, its tables, what was delivered, and the committed offset."""

    def __init__(self, log: list[Record], data: st.DataObject, rules: FanoutRules = RULES) -> None:
        self.log = log
        self.data = data
        self.rules = rules
        self.sights, self.counts, self.notes = Table(), Table(), Table()
        #: (offset, endpoint) → the sequences that it was delivered with
        self.delivered: dict[tuple[int, str], set[int | None]] = {}
        self.committed = 0

    def work(self, worker: int, sizes: list[int], *, crash: bool) -> None:
        """Take over and plan batches from the commit on; a crash loses some of what they cause."""
        sights, counts = self.sights.take_over(worker), self.counts.take_over(worker)
        tables = {"idempotency": sights, "ordering": counts, "positions": self.notes.take_over(worker)}
        state = PartitionState(0, lambda table, key: tables[table].get(key), group="g", start=0)
        plans: list[BatchPlan] = []
        at = self.committed
        for size in sizes:
            records = self.log[at : at + size]
            if records:
                planner = BatchPlanner(self.rules, state, DIRECTORY, lambda: 0)
                for plan in planner.plan(records):
                    sights |= plan.tables["idempotency"]
                    counts |= plan.final_tables.get("ordering", {})
                    plans.append(plan)
                at += len(records)
        self._write(worker, plans, crash=crash)

    def _write(self, worker: int, plans: list[BatchPlan], *, crash: bool) -> None:
        """Each topic and store keeps a beginning of what it was given. That is how app/roles/ack_pipeline.py writes."""

        def some(number: int) -> int:
            return self.data.draw(st.integers(0, number)) if crash else number

        sights = [entry for plan in plans for entry in plan.tables["idempotency"].items()]
        stored = some(len(sights))
        self.sights.changelog += sights[:stored]
        self.sights.stores[worker] += sights[: some(len(sights))]
        counts: Writes = []
        notes: Writes = []
        #: (what may be committed, how many counts and notes make that true; None: its other outputs are not written)
        slices: list[tuple[int, tuple[int, int] | None]] = []
        silent, asked = False, 0
        for plan in plans:
            asked += len(plan.tables["idempotency"])
            number = len(outputs(plan, TopicName.DELIVERIES))
            arrived = some(number)
            self._deliver(plan, arrived)
            done = asked <= stored and arrived == number
            late = bool(plan.final_tables)
            silent |= late and not done
            if done and not silent:
                counts += plan.final_tables.get("ordering", {}).items()
                notes += plan.final_tables.get("positions", {}).items()
            slices.append((plan.upto, (len(counts), len(notes)) if done and not (silent and late) else None))
        safe, noted = some(len(counts)), some(len(notes))
        self.counts.changelog += counts[:safe]
        self.counts.stores[worker] += counts[: some(len(counts))]
        self.notes.changelog += notes[:noted]
        self.notes.stores[worker] += notes[: some(len(notes))]
        ends = [self.committed]
        for end, wanted in slices:
            if wanted is None or wanted[0] > safe or wanted[1] > noted:
                break
            ends.append(end)
        self.committed = ends[some(len(ends) - 1)]

    def _deliver(self, plan: BatchPlan, number: int) -> None:
        for key, headers, value in outputs(plan, TopicName.DELIVERIES)[:number]:
            delivery, _ = decode(key, value, headers)
            offset = json.loads(delivery.body)["data"]
            self.delivered.setdefault((offset, delivery.endpoint_id), set()).add(delivery.sequence)


class Life(msgspec.Struct, frozen=True):
    """What a worker does between two starts."""

    worker: int
    sizes: list[int]
    #: the disk is lost before
    blank: bool
    #: the group is reset by so many records before
    back: int


SAID = st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from(["o", "p", None]), st.integers(-TTL // 2, 2 * TTL))
LIVES = st.builds(
    Life, st.integers(0, 1), st.lists(st.integers(1, 3), max_size=4), st.booleans(), st.sampled_from([0, 0, 0, 2, 99])
)


@settings(max_examples=400)
@given(st.lists(SAID, min_size=1, max_size=10), st.lists(LIVES, max_size=6), st.integers(1, 9), st.data())
def test_crashes_and_resets_deliver_the_same_events_as_one_undisturbed_pass(
    said: list[tuple[str | None, str | None, int]], lives: list[Life], outputs: int, data: st.DataObject
) -> None:
    log = log_of(said)
    small = msgspec.structs.replace(RULES, slice_outputs=outputs, whole_outputs=1)
    undisturbed, world = World(log, data), World(log, data, small)
    undisturbed.work(0, [len(log)], crash=False)
    for life in lives:
        if life.blank:
            world.sights.lose_disk(life.worker)
            world.counts.lose_disk(life.worker)
            world.notes.lose_disk(life.worker)
        world.committed = max(0, world.committed - life.back)
        world.work(life.worker, life.sizes, crash=True)
    world.work(data.draw(st.integers(0, 1)), [len(log)], crash=False)
    assert world.committed == len(log)
    assert world.delivered == undisturbed.delivered
    world.committed = 0
    for table in (world.sights, world.counts, world.notes):
        table.lose_disk(1)
    world.work(1, [3] * len(log), crash=False)
    assert world.delivered == undisturbed.delivered, "a replay from the changelogs alone"
