"""No record of ours is too large for its topic, whatever producers, receivers, tenants and strangers write.

Sizes are compared with `max.message.bytes` as topics/*.yaml declares it, which is the contract of all writers. Inputs
are as large as our readers let through, made of the characters that grow most on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.directory import Directory
from app.core.errors import Defect
from app.core.model.delivery import Delivery, DeliveryRevision
from app.core.model.http_exchange import HttpOutcome
from app.core.model.tenant import ApiKey, Tenant
from app.core.offsets.partitions import CommittedOffset, OpenPartition
from app.core.records import audit, registry
from app.core.records import delivery as delivery_record
from app.core.records import signal as signal_record
from app.core.records.audit import AuditEntry
from app.core.records.command import (
    Command,
    CommandAction,
    CreateEndpoint,
    CreateKey,
    PutTenant,
    SupersedeDeliveries,
    UpdateEndpoint,
)
from app.core.records.headers import RecordHeader, size_of
from app.core.records.signal import HealthSignal
from app.core.topics.names import TopicName
from app.profiles.catalog import PROFILES
from app.profiles.policy import DisableRule
from app.roles.committer import Committer
from app.roles.dispatch.ordered_deliveries import OrderedDeliveries
from app.roles.dispatch.role.settler import OpenDelivery, Settler
from app.roles.dispatch.verdict import Dead, Delivered, RetryAt, Verdict
from app.roles.fanout import reset_detection
from app.roles.fanout.plan import BatchPlanner
from app.roles.fanout.rules import FanoutRules
from app.roles.health.transitions import AppendNotice, HealthState, observe
from app.roles.registry.role import RegistryRole
from app.roles.sequencer import key_queue
from app.roles.sequencer.role.tables import stored_record
from tests.architecture.largest_records import (
    DELIVERIES,
    ENDPOINT,
    FRAME,
    HALF,
    MAX_EVENT,
    NOW_MS,
    OUTCOMES,
    TOPICS,
    VERDICTS,
    WORST,
    long_text,
)
from tests.fakes.clock import FakeClock
from tests.fakes.log import MemoryLog, MemoryRecord
from tests.fakes.source import MemoryGroup
from tests.roles.fanout.planning import FanoutTables


def fits(logical: str, key: bytes | None, value: bytes | None, headers: Sequence[RecordHeader] = ()) -> None:
    size = size_of(MemoryRecord(logical, 0, 0, 0, key, value, list(headers))) + FRAME
    assert size <= TOPICS.limit(logical), f"{size} bytes for {logical}"


class CheckedLog:
    """A `BundleLog` that holds every record against its topic."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def bundle(self, then: Callable[[], None], failed: Callable[[Any], None]) -> CheckedLog:
        return self

    def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[RecordHeader] = (),
        partition: int | None = None,
    ) -> None:
        logical = TOPICS.logical(topic)
        assert logical is not None
        fits(logical, key, value, list(headers))
        self.written.append(logical)

    def close(self) -> None:
        """Nothing is acknowledged."""


def settler(log: CheckedLog) -> Settler:
    clock = FakeClock()
    commits = Committer(MemoryGroup(MemoryLog(clock), [], clock).member(), clock)
    return Settler(cast(Any, log), TOPICS, clock, PrometheusMeter(), lambda error: None, commits, OrderedDeliveries())


def work_of(delivery: Delivery) -> OpenDelivery:
    return OpenDelivery(delivery, OpenPartition(("deliveries", 0), CommittedOffset(0, ""), lambda: None), 0)


@settings(max_examples=60, deadline=None)
@given(DELIVERIES, OUTCOMES, VERDICTS, st.text(max_size=3) | long_text(300_000, WORST | HALF))
def test_records_of_dispatch_fit_their_topics(
    delivery: Delivery, outcome: HttpOutcome, verdict: Verdict, words: str
) -> None:
    log = CheckedLog()
    writer = settler(log)
    for each in (verdict, Delivered(), RetryAt(NOW_MS + 10**7), Dead("exhausted")):
        writer.settle(work_of(delivery), ENDPOINT, outcome, each, started_ms=NOW_MS, ended_ms=NOW_MS)
    writer.defer(work_of(delivery), NOW_MS, "lane_full")
    writer.end(work_of(delivery), ENDPOINT, "dead", "unrepresentable", words)
    writer.end(work_of(delivery), ENDPOINT, "dead", "paused", words)
    assert {
        TopicName.ATTEMPTS,
        TopicName.DELIVERIES_DEAD,
        TopicName.DELIVERIES_ORDERED,
        TopicName.ENDPOINTS_SIGNALS,
    } <= set(log.written)


NAME, KEY = long_text(256, st.just("n")), long_text(512)


@st.composite
def raw_records(draw: st.DrawFn, offset: int) -> MemoryRecord:
    """Events as large as they may be, and what is none; keys of a producer that compresses."""
    event = {
        "type": draw(NAME) or "a",
        "id": draw(NAME) or "e",
        "data": None,
        "idempotency_key": draw(KEY),
        "ordering_key": draw(KEY),
    }
    value = msgspec.json.encode(event)
    room = MAX_EVENT - len(value) - len('"pad":"",')
    padded = b'{"pad":"' + b"p" * max(0, room) + b'",' + value[1:]
    value = draw(st.sampled_from([value, padded, b"\xff" * 3_000_000, b"\xff" * MAX_EVENT, b"{}"]))
    headers = draw(st.sampled_from([[], [("traceparent", b"x" * 100_000)], [("other", b"\xff" * 2_000_000)]]))
    key = draw(st.sampled_from([None, b"k", b"k" * 5_000_000]))
    return MemoryRecord("events.raw", 0, offset, NOW_MS, key, value, headers)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(["active", "paused"]), st.sampled_from(["none", "fifo"]))
def test_records_of_fanout_fit_their_topics(data: st.DataObject, status: Any, ordering: Any) -> None:
    directory = Directory()
    directory.put_endpoint(msgspec.structs.replace(ENDPOINT, tenant="default", status=status, ordering=ordering))
    rules = FanoutRules(topic="events.raw", ttl_ms=86_400_000, max_event_bytes=MAX_EVENT, slice_bytes=1 << 30)
    records = [data.draw(raw_records(offset)) for offset in range(2)]
    records.append(records[0]._replace(offset=2))  # a duplicate
    replay = reset_detection.ReadPosition(high=10**18, replay_id="rpl_" + "x" * 40, replay_until=10**18)
    (plan,) = BatchPlanner(rules, FanoutTables().state(replay), directory, lambda: 10**18).plan(records)
    for each in plan.appends:
        fits(each.topic, each.key, each.value, each.headers)
    for tables in (plan.tables, plan.final_tables):
        for table, entries in tables.items():
            for key, value in entries.items():
                fits(f"hookstream.fanout-{table}-changelog", key, value)


@settings(max_examples=40, deadline=None)
@given(DELIVERIES)
def test_records_of_the_sequencer_fit_their_topics(delivery: Delivery) -> None:
    headers = delivery_record.encode(delivery)
    record = MemoryRecord(
        TopicName.DELIVERIES_ORDERED, 0, 0, NOW_MS, delivery.endpoint_id.encode(), delivery.body, headers
    )
    room = TOPICS.max_record_bytes - size_of(record)  # a larger one is passed over
    record = record._replace(value=delivery.body + b"x" * room)
    entry = stored_record(record)
    fits(TopicName.SEQUENCER_WAITING, b"n" * 4096, msgspec.msgpack.encode(entry))
    key, value, own = entry
    fits(TopicName.DELIVERIES, key, value, [*own, ("arrival", b"9" * 19)])
    fits(
        TopicName.DELIVERIES_DEAD,
        key,
        value,
        [*own, ("reason", b"ordering_dropped"), ("last-result", b"ordering_dropped")],
    )


def test_the_longest_key_queue_fits_its_topic() -> None:
    waiting = tuple(range(10**18, 10**18 + key_queue.MAX_WAITING))
    line = key_queue.KeyQueue(
        applied=10**18, in_flight=10**18, waiting=waiting, blocked=10**18, cause=10**18, held=10_000
    )
    fits(TopicName.SEQUENCER_QUEUES, b"n" * 4096, msgspec.msgpack.encode(line))


SIGNALS = st.builds(
    HealthSignal,
    outcome=st.sampled_from(["ok", "failed", "unsent"]),
    epoch=st.just(1),
    delivery_id=long_text(20_000),
    event_type=long_text(20_000),
    result=long_text(20_000),
    status=st.just(500),
    error=long_text(20_000),
    dead=st.none() | long_text(20_000),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(SIGNALS, min_size=1, max_size=60),
    st.sampled_from([DisableRule(consecutive_failures=3), DisableRule(failing_days=0.001)]),
)
def test_records_of_health_fit_their_topics(some: list[HealthSignal], rule: DisableRule) -> None:
    state: HealthState | None = None
    for offset, signal in enumerate(some):
        state, emitted = observe(state, ENDPOINT, rule, signal, offset, NOW_MS + offset * 86_400_000)
        for order in emitted.actions if emitted else ():
            if isinstance(order, AppendNotice):
                fits(TopicName.NOTICES, b"acme", msgspec.json.encode(order.notice))
            else:
                fits(TopicName.REGISTRY_COMMANDS, b"ep", msgspec.json.encode(order))
        fits("hookstream.health-state-changelog", b"ep", msgspec.msgpack.encode(state))


def test_a_signal_larger_than_any_written_one_is_unreadable() -> None:
    with pytest.raises(Defect, match="bytes"):
        signal_record.read(
            msgspec.json.encode(HealthSignal(outcome="failed", epoch=1, delivery_id="d", error="x" * 70_000))
        )


@st.composite
def actions(draw: st.DrawFn) -> CommandAction:
    text = draw(long_text(400_000))
    return cast(
        CommandAction,
        draw(
            st.sampled_from(
                [
                    CreateEndpoint(msgspec.structs.replace(ENDPOINT, id=text)),
                    CreateEndpoint(msgspec.structs.replace(ENDPOINT, profile=text)),
                    CreateEndpoint(msgspec.structs.replace(ENDPOINT, metadata={text: text})),
                    CreateEndpoint(msgspec.structs.replace(ENDPOINT, events=(text,) * 2)),
                    CreateEndpoint(msgspec.structs.replace(ENDPOINT, created_by=(text, text))),
                    UpdateEndpoint(text, {}),
                    UpdateEndpoint("ep", {text: 1}),
                    UpdateEndpoint("ep", {"url": text}),
                    CreateKey(ApiKey(id=text, tenant=text, mode="live", digest="d", last4="l")),
                    PutTenant(Tenant(id="acme", notify_emails=(text,) * 2)),
                    PutTenant(Tenant(id="acme", name=text)),
                    SupersedeDeliveries([DeliveryRevision(id=text, number=1)]),
                ]
            )
        ),
    )


@settings(max_examples=100, deadline=None)
@given(actions(), st.sampled_from(["c", "c" * 1024, "\x00" * 1024, "c" * 500_000]), long_text(400_000))
def test_records_of_the_registry_fit_their_topics(action: CommandAction, command_id: str, actor: str) -> None:
    role = RegistryRole(store=cast(Any, None), clock=FakeClock(), meter=PrometheusMeter(), profiles=PROFILES)
    directory = Directory()
    directory.put_endpoint(ENDPOINT)
    value = registry.encode(Command(id=command_id, issued_at_ms=1, action=action, actor=actor))
    states: list[tuple[str, bytes | None]] = []
    entries: list[AuditEntry] = []
    reply = role._decide(directory, MemoryRecord("c", 0, 0, 0, b"k", value, []), "k", states, entries)
    for entry in entries:
        fits(TopicName.AUDIT, entry.tenant.encode(), audit.encode(entry))
    for key, state in states:
        fits(TopicName.REGISTRY, key.encode(), state)
    if reply is not None:
        fits(TopicName.REGISTRY_REPLIES, reply.command_id.encode(), registry.encode(reply))


def test_every_topic_has_a_limit() -> None:
    assert {TOPICS.limit(spec.logical) for spec in TOPICS.specs} == {1_048_588, MAX_EVENT + 65_536}
