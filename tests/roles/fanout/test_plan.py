"""The plan of a batch: each event once to each endpoint that asked for it, numbered, and the same if planned again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.errors import Defect
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, EndpointStatus
from app.core.model.endpoint_settings import Ordering
from app.core.model.event import Mode
from app.core.model.event_types import EventType
from app.core.records import duplicate, rejected
from app.core.records.delivery import decode
from app.core.schemas.rules import Violation
from app.core.topics.names import TopicName
from app.roles.fanout import reset_detection
from app.roles.fanout.plan import BatchPlan, BatchPlanner, table_key
from app.roles.fanout.rules import FanoutRules
from app.roles.fanout.sequences import coverage_key
from tests.roles.fanout.planning import FanoutTables, keys, outputs

RULES = FanoutRules(topic="events.raw", ttl_ms=1000, max_event_bytes=2000)
FORWARD = reset_detection.ReadPosition(high=0)
REGISTRY_POSITION = 77


class Record(msgspec.Struct, frozen=True):
    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = 1000
    key: bytes | None = b"k"
    partition: int = 0


class Tables(FanoutTables):
    def plan(
        self,
        where: Directory,
        records: Sequence[Record],
        position: reset_detection.ReadPosition = FORWARD,
        start: int = 0,
    ) -> BatchPlan:
        """Plan a batch and store its entries."""
        planner = BatchPlanner(RULES, self.state(position, start=start), where, lambda: REGISTRY_POSITION)
        (plan,) = planner.plan(records)
        self.write(plan)
        return plan


def endpoint(
    id_: str,
    tenant: str = "default",
    mode: Mode = "live",
    status: EndpointStatus = "active",
    ordering: Ordering = "none",
) -> Endpoint:
    return Endpoint(
        id=id_,
        tenant=tenant,
        mode=mode,
        url="https://x.example",
        events=("*",),
        profile="standard",
        status=status,
        ordering=ordering,
    )


def directory(*endpoints: Endpoint) -> Directory:
    made = Directory()
    for each in endpoints:
        made.put_endpoint(each)
    return made


def event(offset: int, timestamp: int = 1000, **fields: Any) -> Record:
    return Record(offset, json.dumps({"type": "a.b", "data": offset} | fields).encode(), timestamp=timestamp)


def deliveries(plan: BatchPlan) -> list[Delivery]:
    return [decode(key, value, headers)[0] for key, headers, value in outputs(plan, TopicName.DELIVERIES)]


def rejections(plan: BatchPlan) -> list[tuple[int, str]]:
    """Offset and reason of each rejected record."""
    notices = [rejected.read(headers) for _, headers, _ in outputs(plan, TopicName.EVENTS_REJECTED)]
    assert plan.rejections == [each.reason for each in notices]
    return [(each.offset, each.reason) for each in notices]


def test_a_delivery_carries_all_that_its_sender_needs() -> None:
    record = event(5, id="e1", tenant="acme", mode="test", ordering_key="o", created_at="2026-01-01T00:00:00Z")
    plan = Tables().plan(directory(endpoint("ep", "acme", "test")), [record])
    ((key, headers, value),) = outputs(plan, TopicName.DELIVERIES)
    delivery, position = decode(key, value, headers)
    assert position == REGISTRY_POSITION
    assert delivery == Delivery(
        id=delivery.id,
        endpoint_id="ep",
        event_id="e1",
        event_type="a.b",
        tenant="acme",
        mode="test",
        created_at="2026-01-01T00:00:00Z",
        body=record.value or b"",
        accepted_at_ms=1000,
        sequence=1,
        ordering_key="o",
        source="0:5",
    )


def test_events_without_endpoints_are_counted() -> None:
    where = directory(endpoint("p", status="paused"), endpoint("d", status="disabled"))
    plan = Tables().plan(where, [event(0), event(1, tenant="nobody")])
    assert (keys(plan), plan.accepted, plan.unmatched) == ([], 2, 1)


def test_deliveries_of_a_paused_endpoint_are_parked_and_of_a_disabled_one_not_created() -> None:
    where = directory(endpoint("a"), endpoint("p", status="paused"), endpoint("d", status="disabled"), endpoint("z"))
    plan = Tables().plan(where, [event(0, ordering_key="o")])
    assert [each.endpoint_id for each in deliveries(plan)] == ["a", "z"]
    ((key, headers, value),) = outputs(plan, TopicName.DELIVERIES_DEAD)
    assert (key, ("reason", b"paused") in headers) == (b"p", True)
    assert decode(key, value, headers)[0].sequence == 1
    assert plan.unmatched == 0


def test_ordered_deliveries_go_to_the_sequencer_also_during_a_pause() -> None:
    where = directory(
        endpoint("p", status="paused", ordering="fifo"), endpoint("d", status="disabled", ordering="fifo")
    )
    plan = Tables().plan(where, [event(0, ordering_key="o"), event(1)])
    assert keys(plan, TopicName.DELIVERIES_ORDERED) == [b"p"]
    assert keys(plan, TopicName.DELIVERIES_DEAD) == [b"p"], "what has no ordering key is parked at once"


@pytest.mark.parametrize("split", range(1, 6))
def test_duplicates_are_dropped_within_a_batch_and_across_batches(split: int) -> None:
    records = [
        event(0, id="x"),
        event(1, id="x"),
        event(2, idempotency_key="x"),
        event(3, id="y", idempotency_key="x"),
        event(4, id="x", tenant="acme"),
        event(5, id="x", mode="test"),
        event(6, 2000, id="x"),
    ]
    tables, where = Tables(), directory(endpoint("ep"), endpoint("acme", "acme"), endpoint("test", mode="test"))
    plans = [tables.plan(where, records[:split]), tables.plan(where, records[split:])]
    assert [json.loads(each.body)["data"] for plan in plans for each in deliveries(plan)] == [0, 4, 5, 6]
    assert sum(plan.duplicates for plan in plans) == 3
    assert sum(plan.accepted for plan in plans) == 4


def test_a_dropped_duplicate_names_the_record_that_it_repeats() -> None:
    records = [event(7, 1000, idempotency_key="i", ordering_key="o"), event(9, 1400, idempotency_key="i", tenant="t2")]
    repeats = Record(12, event(12, id="e12", ordering_key="o").value, (("idempotency-key", b"i"),), 1500, b"its key")
    plan = Tables().plan(directory(), [*records, repeats])
    ((key, headers, value),) = outputs(plan, TopicName.EVENTS_DUPLICATES)
    assert (key, value, plan.duplicates) == (b"its key", b"", 1)
    assert duplicate.read(headers) == duplicate.DuplicateNotice(
        tenant="default",
        mode="live",
        idempotency_key="i",
        event_id="e12",
        topic="events.raw",
        partition=0,
        offset=12,
        timestamp_ms=1500,
        first_partition=0,
        first_offset=7,
        first_timestamp_ms=1000,
    )
    assert {name for name, _ in headers} >= {"tenant", "mode", "idempotency-key", "event-id", "first-offset"}


@pytest.mark.parametrize("headers", [[], [("tenant", b"a")], [("tenant", b"\xff")]])
def test_malformed_headers_of_a_duplicate_are_a_defect(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Defect):
        duplicate.read(headers)


def test_a_key_takes_16_bytes_however_long_it_is_and_names_do_not_run_together() -> None:
    parts = [("a", "live", "b"), ("a", "test", "b"), ("b", "live", "b"), ("a", "live", "x" * 512), ("a", "live", "\0b")]
    keys = {table_key(*each) for each in parts}
    assert len(keys) == len(parts)
    assert {len(key) for key in keys} == {16}


def test_a_schema_is_checked_only_when_an_event_is_first_accepted() -> None:
    where = directory(endpoint("ep"))
    stricter = EventType(tenant="default", mode="live", name="a.b", schema="{}", enforce="reject")
    tables = Tables()
    tables.plan(where, [event(0, id="x", ordering_key="o")])
    where.put_event_type(stricter)

    def plan(*records: Record) -> BatchPlan:
        violation = Violation("schema", "data: too strict")
        planner = BatchPlanner(RULES, tables.state(FORWARD), where, lambda: 0, lambda event_type, data: violation)
        return next(planner.plan(records))

    again = plan(event(0, id="x", ordering_key="o"), event(1, id="y", ordering_key="o"), event(2))
    assert [each.sequence for each in deliveries(again)] == [1]
    assert [offset for offset, _ in rejections(again)] == [1, 2]
    (count,) = again.final_tables["ordering"].values()
    assert count is not None and int.from_bytes(count, "big") == 1, "what was rejected has no number"


@pytest.mark.parametrize("reason", ["schema", "schema_too_costly", "schema_unusable"])
def test_data_that_cannot_be_validated_is_handled_according_to_the_mode(reason: Any) -> None:
    violation = Violation(reason, "why")

    def plan(enforce: Any) -> BatchPlan:
        where = directory(endpoint("ep"))
        where.put_event_type(EventType(tenant="default", mode="live", name="a.b", schema="{}", enforce=enforce))
        planner = BatchPlanner(RULES, Tables().state(FORWARD), where, lambda: 0, lambda *_: violation)
        return next(planner.plan([event(0)]))

    warned, refused = plan("warn"), plan("reject")
    assert (len(keys(warned)), warned.warnings) == (1, [("a.b", violation)])
    assert (len(keys(refused)), refused.rejections) == (0, [reason])
    assert (len(keys(plan("off"))), plan("off").warnings) == (1, [])


def test_the_installations_type_applies_if_the_tenant_has_none_of_its_own() -> None:
    violation = Violation("schema", "why")
    where = directory(endpoint("ep"))
    where.put_event_type(EventType(tenant="", mode="", name="a.b", schema="{}", enforce="reject"))

    def refused() -> int:
        planner = BatchPlanner(RULES, Tables().state(FORWARD), where, lambda: 0, lambda *_: violation)
        return len(next(planner.plan([event(0)])).rejections)

    assert refused() == 1
    where.put_event_type(EventType(tenant="default", mode="live", name="a.b"))
    assert refused() == 0
    where.remove_event_type("default/live/a.b")
    assert refused() == 1
    where.remove_event_type("//a.b")
    assert refused() == 0


def test_events_without_an_identity_are_never_duplicates() -> None:
    tables = Tables()
    plan = tables.plan(directory(endpoint("ep")), [event(0), event(1), event(2)])
    assert len({each.id for each in deliveries(plan)}) == 3
    assert (tables.tables["idempotency"], set(tables.tables["ordering"])) == (
        {},
        {coverage_key(0)},
    )  # and cost no memory


def test_no_sequence_is_repeated_after_the_table_was_lost() -> None:
    where, before = directory(endpoint("ep")), Tables()
    records = [event(offset, ordering_key="ab"[offset % 2]) for offset in range(20)]
    given = {each.event_id: each.sequence or 0 for each in deliveries(before.plan(where, records[:14]))}
    lost = Tables()
    again = [
        *deliveries(lost.plan(where, records[10:14], start=10)),
        *deliveries(lost.plan(where, records[14:], start=10)),
    ]
    assert all((each.sequence or 0) >= given.get(each.event_id, 0) for each in again)
    for key in "ab":
        numbers = [each.sequence or 0 for each in again if each.ordering_key == key]
        assert numbers == list(range(numbers[0], numbers[0] + 5)) and numbers[0] > 5
    fresh = deliveries(lost.plan(where, [event(30, ordering_key="c")], start=0))
    assert [each.sequence for each in fresh] == [31], "it stays so, also for keys that come later"


@pytest.mark.parametrize("stored", [b"", b"\xff" * 8, b"\1" * 9])
def test_an_implausible_stored_sequence_is_ignored(stored: bytes) -> None:
    tables = Tables(sequences={b"default\0live\0a": stored})
    (delivery,) = deliveries(tables.plan(directory(endpoint("ep")), [event(5, ordering_key="a")]))
    assert delivery.sequence == 1


@pytest.mark.parametrize("size", [1, 2, 100])
def test_sequences_are_gapless_for_each_key_whatever_the_batches(size: int) -> None:
    records = [
        event(offset, id=f"e{offset // 2}", ordering_key="ab"[offset % 4 // 2])  # every event is there twice
        for offset in range(40)
    ]
    tables, where = Tables(), directory(endpoint("ep"))
    sent = [
        delivery
        for start in range(0, len(records), size)
        for delivery in deliveries(tables.plan(where, records[start : start + size]))
    ]
    for key in "ab":
        assert [each.sequence for each in sent if each.ordering_key == key] == list(range(1, 11))


def test_an_event_without_endpoints_still_gets_a_sequence() -> None:
    tables, where = Tables(), directory()
    tables.plan(where, [event(0, ordering_key="o")])
    where.put_endpoint(endpoint("ep"))
    assert [each.sequence for each in deliveries(tables.plan(where, [event(1, ordering_key="o")]))] == [2]


def test_a_replay_creates_new_deliveries_of_the_same_events_and_sequences() -> None:
    records = [event(offset, id=f"e{offset % 3}", ordering_key="o") for offset in range(5)]
    tables, where = Tables(), directory(endpoint("ep"))
    once = deliveries(tables.plan(where, records))
    reset = reset_detection.begin(reset_detection.ReadPosition(high=5), "hookstream.fanout", 0, 0, was_reset=True)
    again = deliveries(tables.plan(where, records, reset))
    assert [(each.event_id, each.sequence) for each in again] == [(each.event_id, each.sequence) for each in once]
    assert {each.id for each in again}.isdisjoint(each.id for each in once)
    assert {each.replay_id for each in again} == {reset.replay_id}
    ahead = deliveries(tables.plan(where, [event(5, id="new")], reset))
    assert [each.replay_id for each in ahead] == [""]


def test_a_malformed_event_does_not_stop_the_others() -> None:
    records = [event(0), Record(1, b"hello"), Record(2, None), event(3, type="a b"), event(4, x="y" * 3000), event(5)]
    plan = Tables().plan(directory(endpoint("ep")), records)
    assert [json.loads(each.body)["data"] for each in deliveries(plan)] == [0, 5]
    assert rejections(plan) == [
        (1, "not_json"),
        (2, "empty"),
        (3, "bad_type"),
        (4, "too_large"),
    ]


SCOPES = [("t1", "live"), ("t1", "test"), ("t2", "live"), ("t2", "test")]
FIELDS = st.fixed_dictionaries(
    {"tenant": st.sampled_from(["t1", "t2"]), "mode": st.sampled_from(["live", "test"])},
    optional={"id": st.sampled_from("xyz"), "ordering_key": st.sampled_from("xo"), "idempotency_key": st.just("x")},
)


@given(st.lists(FIELDS, max_size=20), st.data())
def test_tenants_and_modes_never_mix(events: list[dict[str, str]], data: st.DataObject) -> None:
    """Planned together, each tenant and mode gets exactly what it gets when it is alone."""
    where = directory(*(endpoint(f"{tenant}-{mode}", tenant, mode) for tenant, mode in SCOPES))  # type: ignore[arg-type]
    records = [event(offset, 1000, **fields) for offset, fields in enumerate(events)]
    cut = data.draw(st.integers(0, len(records)))
    tables = Tables()
    together = [each for part in (records[:cut], records[cut:]) for each in deliveries(tables.plan(where, part))]
    for tenant, mode in SCOPES:
        own = [
            record
            for record, fields in zip(records, events, strict=True)
            if (fields["tenant"], fields["mode"]) == (tenant, mode)
        ]
        mine = [each for each in together if each.endpoint_id == f"{tenant}-{mode}"]
        assert mine == deliveries(Tables().plan(where, own))
        assert all((each.tenant, each.mode) == (tenant, mode) for each in mine)


@given(st.lists(st.tuples(FIELDS, st.integers(0, 3000)), max_size=20))
def test_a_replanned_batch_has_the_same_outputs_and_no_others(events: list[tuple[dict[str, str], int]]) -> None:
    where = directory(*(endpoint(f"{tenant}-{mode}", tenant, mode) for tenant, mode in SCOPES), endpoint("t1b", "t1"))  # type: ignore[arg-type]
    records = [event(offset, timestamp, **fields) for offset, (fields, timestamp) in enumerate(events)]
    tables = Tables()
    once, after = tables.plan(where, records), deepcopy(tables.tables)
    again = tables.plan(where, records)
    assert outputs(again, TopicName.DELIVERIES) == outputs(once, TopicName.DELIVERIES)
    assert (again.accepted, again.duplicates) == (once.accepted, once.duplicates)
    assert tables.tables == after
    ids = [each.id for each in deliveries(once)]
    named = [(each.event_id, each.endpoint_id) for each in deliveries(once)]
    assert len(set(ids)) == len(set(named))
