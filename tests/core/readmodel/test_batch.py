"""What records of `attempts` mean for a delivery, where two workers have had it."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest

from app.core.readmodel.batch import ProjectionBatch
from app.core.readmodel.snapshot import DeliverySnapshot
from app.core.records.attempt import Attempt, AttemptState
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


@pytest.mark.parametrize("state", ["delivered", "dead", "cancelled"])
def test_a_late_reassigned_attempt_does_not_change_the_state(state: AttemptState) -> None:
    lost = reassigned(attempt(3, "dead", "exhausted"))
    for order in permutations([attempt(2, "retrying"), lost, attempt(3, state, "why")]):
        assert standing(*order).state == state


def test_a_reassigned_attempt_leaves_its_delivery_waiting() -> None:
    first = standing(reassigned(attempt(1, "dead", "exhausted")))
    assert (first.state, first.attempts, first.next_attempt_at_ms) == ("retrying", 0, None)
