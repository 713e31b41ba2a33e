"""What records of `attempts` mean for a delivery, where two workers have had it."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from app.core.readmodel.batch import ProjectionBatch
from app.core.readmodel.snapshot import DeliverySnapshot
from app.core.records.attempt import DISCARDED, Attempt, AttemptState
from app.core.topics.names import TopicName
from app.roles.dispatch.attempts import reassigned
from tests.fakes.log import MemoryRecord


def attempt(number: int, state: AttemptState, reason: str | None = None) -> Attempt:
    return Attempt(
        delivery_id="dlv_1",
        event_id="e1",
        event_type="a.b",
        endpoint_id="ep_1",
        tenant="acme",
        mode="live",
        attempt=number,
        trigger="first",
        state=state,
        result="ok" if state == "delivered" else "http_5xx",
        started_at="2026-01-01T00:00:00Z",
        duration_ms=1.0,
        reason=reason,
    )


def standing(*said: Attempt) -> DeliverySnapshot:
    """Where the delivery stands after these, each a second later than the one before."""
    portion = ProjectionBatch()
    for at, each in enumerate(said):
        value = msgspec.json.encode(each)
        portion.take(TopicName.ATTEMPTS, MemoryRecord(TopicName.ATTEMPTS, 0, at, at * 1000, b"ep_1", value, []))
    assert portion.unreadable == 0 and len(portion.lines) == len(said), "each request is shown"
    (found,) = portion.settle({}).changed
    return found


def test_a_discarded_delivery_is_cancelled_in_any_order_and_counts_no_second_end() -> None:
    died, row = attempt(3, "dead", "exhausted"), attempt(3, "cancelled", DISCARDED)
    discarded = msgspec.structs.replace(row, result=DISCARDED, trigger="manual", revision=7)
    for order in permutations([attempt(2, "retrying"), died, discarded]):
        portion = ProjectionBatch()
        for offset, each in enumerate(order):
            value = msgspec.json.encode(each)
            portion.take(TopicName.ATTEMPTS, MemoryRecord(TopicName.ATTEMPTS, 0, offset, 1000, b"ep_1", value, []))
        snapshot = portion.settle({}).changed[0]
        assert (snapshot.state, snapshot.reason, snapshot.result) == ("cancelled", DISCARDED, "http_5xx")
        assert [end.fact.state for end in portion.ends] == ["dead"] and len(portion.lines) == 2


def test_a_discard_leaves_the_outcome_of_a_delivery_that_died_without_a_request() -> None:
    died = msgspec.structs.replace(attempt(0, "dead", "unreadable"), result="unreadable")
    discarded = msgspec.structs.replace(died, state="cancelled", reason=DISCARDED, result=DISCARDED, revision=7)
    portion = ProjectionBatch()
    for offset, each in enumerate((died, discarded)):
        value = msgspec.json.encode(each)
        portion.take(TopicName.ATTEMPTS, MemoryRecord(TopicName.ATTEMPTS, 0, offset, 1000, b"ep_1", value, []))
    (snapshot,) = portion.settle({}).changed
    assert (snapshot.state, snapshot.reason, snapshot.result) == ("cancelled", DISCARDED, "unreadable")


def test_a_success_of_a_retry_that_was_in_progress_counts_despite_a_discard() -> None:
    row = attempt(3, "cancelled", DISCARDED)
    discarded = msgspec.structs.replace(row, result=DISCARDED, revision=8)
    portion = ProjectionBatch()
    for offset, each in enumerate((discarded, msgspec.structs.replace(attempt(4, "delivered"), revision=7))):
        value = msgspec.json.encode(each)
        portion.take(TopicName.ATTEMPTS, MemoryRecord(TopicName.ATTEMPTS, 0, offset, 1000, b"ep_1", value, []))
    assert portion.settle({}).changed[0].state == "delivered"


@pytest.mark.parametrize("state", ["delivered", "dead", "cancelled"])
def test_a_late_reassigned_attempt_does_not_change_the_state(state: AttemptState) -> None:
    lost = reassigned(attempt(3, "dead", "exhausted"))
    for order in permutations([attempt(2, "retrying"), lost, attempt(3, state, "why")]):
        assert standing(*order).state == state


def test_a_reassigned_attempt_leaves_its_delivery_waiting() -> None:
    first = standing(reassigned(attempt(1, "dead", "exhausted")))
    assert (first.state, first.attempts, first.next_attempt_at_ms) == ("retrying", 0, None)
