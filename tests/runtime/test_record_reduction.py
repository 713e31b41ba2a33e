"""Records that a topic refuses for their size have a small form."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings

from app.core.model.delivery import Delivery
from app.core.model.http_exchange import HttpReply
from app.core.records import delivery as delivery_record
from app.core.records.attempt import Attempt
from app.core.topics.names import RUNGS, TopicName
from app.roles.dispatch.attempts import sent
from app.roles.dispatch.verdict import RetryAt
from app.runtime.record_reduction import reduced
from tests.architecture.largest_records import (
    DELIVERIES,
    ENDPOINT,
    MAX_EVENT,
    NOW_MS,
    REPLIES,
)


@settings(max_examples=30, deadline=None)
@given(DELIVERIES, REPLIES)
def test_a_reduced_record_is_small_and_marked(delivery: Delivery, reply: HttpReply) -> None:
    verdict = RetryAt(NOW_MS)
    attempt = sent(delivery, ENDPOINT, reply, verdict, started_ms=NOW_MS, ended_ms=NOW_MS)
    small = reduced(TopicName.ATTEMPTS, msgspec.json.encode(attempt), [])
    assert small is not None and small[0] is not None
    read = msgspec.json.decode(small[0], type=Attempt)
    assert (read.delivery_id, read.state, read.status, read.cut) == (delivery.id, "retrying", 500, ("record",))
    assert len(small[0]) < 60_000 and reduced(TopicName.ATTEMPTS, small[0], small[1]) is None
    headers = delivery_record.encode(delivery)
    for logical in (
        TopicName.DELIVERIES,
        TopicName.DELIVERIES_DEAD,
        *(f"{TopicName.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS),
    ):
        left = reduced(logical, delivery.body, headers)
        assert left is not None
        again, _ = delivery_record.decode(b"ep", *left)
        assert (again.id, again.body, again.omitted, again.source) == (delivery.id, b"", MAX_EVENT, delivery.source)
        assert reduced(logical, *left) is None


def test_rejected_and_waiting_records_have_a_reduced_form() -> None:
    ours = [("rejected-reason", b"not_json")]
    assert reduced(TopicName.EVENTS_REJECTED, b"x" * 9, [("a", b"b" * 5), *ours]) == (
        b"",
        [*ours, ("rejected-truncated-from", b"15")],
    )
    held = reduced(TopicName.SEQUENCER_WAITING, msgspec.msgpack.encode((b"ep", b"body", [("delivery-id", b"d")])), [])
    assert held is not None
    entry = msgspec.msgpack.decode(held[0] or b"")
    assert entry == [b"ep", b"", [["delivery-id", b"d"], ["body-omitted", b"4"]]]


@pytest.mark.parametrize(
    "logical", [TopicName.REGISTRY, "nothing", TopicName.ATTEMPTS, TopicName.SEQUENCER_WAITING, TopicName.NOTICES]
)
def test_records_without_a_reduced_form_fail(logical: str) -> None:
    assert reduced(logical, b"\xff", []) is None
