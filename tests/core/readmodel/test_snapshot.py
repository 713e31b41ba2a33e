"""The same facts give the same standing, in whatever order they are read; and a state never goes back."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.core.readmodel.snapshot import (
    DeliveryFact,
    DeliverySnapshot,
    FactSource,
    LastOutcome,
    SnapshotState,
    merge,
    new_snapshot,
)

NOW = 1_700_000_000_000


def fact(
    kind: FactSource,
    state: SnapshotState,
    attempts: int,
    at_ms: int,
    *,
    revision: int = 0,
    reason: str | None = None,
    last: LastOutcome | None = None,
) -> DeliveryFact:
    if kind == "attempt" and last is None and state in ("delivered", "retrying", "dead"):
        last = LastOutcome(status=200 if state == "delivered" else 500, result=state, error=None, duration_ms=1.0)
    return DeliveryFact(
        id="dlv_1",
        tenant="acme",
        mode="live",
        endpoint_id="ep_1",
        event_id="evt_1",
        event_type="a.b",
        accepted_at_ms=NOW,
        replay_id=None,
        sequence=None,
        ordering_key=None,
        source=(0, 1),
        kind=kind,
        at_ms=NOW + at_ms,
        state=state,
        attempts=attempts,
        reason=reason,
        last=last,
        revision=revision,
    )


def told(*facts: DeliveryFact) -> DeliverySnapshot:
    standing = new_snapshot(facts[0])
    for each in facts[1:]:
        merge(standing, each)
    return standing


def state(*facts: DeliveryFact) -> str:
    return told(*facts).state


HANDED = fact("delivery", "pending", 0, 1)
FAILED = fact("attempt", "retrying", 1, 20)
BACK = fact("delivery", "retrying", 1, 5000)
DELIVERED = fact("attempt", "delivered", 2, 5020)
DEAD = fact("attempt", "dead", 2, 5020, reason="exhausted")
KEPT = fact("aside", "dead", 2, 5020, reason="exhausted")


def test_the_states_of_an_ordinary_delivery() -> None:
    assert state(HANDED) == "pending"
    assert state(HANDED, FAILED) == "retrying"
    assert state(HANDED, FAILED, BACK) == "retrying"
    assert state(HANDED, FAILED, BACK, DELIVERED) == "delivered"
    assert told(HANDED, FAILED, BACK, DELIVERED).attempts == 2


def test_records_read_late_do_not_change_a_newer_state() -> None:
    assert state(DELIVERED, HANDED, FAILED, BACK) == "delivered"
    assert state(DEAD, BACK) == state(KEPT, BACK) == "dead"
    again = fact("attempt", "retrying", 3, 9000)
    assert state(DELIVERED, again) == "delivered", "sent again after a crash"
    assert told(DELIVERED, again).attempts == 3


def test_a_paused_delivery_may_reach_any_state() -> None:
    paused = fact("attempt", "paused", 1, 5010, reason="paused")
    resumed = fact("delivery", "retrying", 1, 60_000)
    assert state(HANDED, FAILED, BACK, paused) == "paused"
    assert state(HANDED, FAILED, BACK, paused, resumed) == "retrying"
    assert told(HANDED, FAILED, BACK, paused, resumed).reason is None
    gone = fact("attempt", "cancelled", 1, 61_000, reason="endpoint_removed")
    assert state(paused, gone) == "cancelled" and told(paused, gone).reason == "endpoint_removed"


def test_a_retry_on_request_revives_and_an_old_copy_does_not() -> None:
    cancelled = fact("attempt", "cancelled", 1, 30_000, revision=5, reason="cancelled")
    stale = fact("delivery", "retrying", 1, 7_200_000)
    asked = fact("delivery", "retrying", 1, 40_000, revision=6)
    assert state(FAILED, cancelled, stale) == "cancelled"
    assert state(FAILED, cancelled, asked) == "retrying"
    assert state(DEAD, fact("delivery", "retrying", 2, 90_000, revision=1)) == "retrying"
    # the request of an older copy ends while the newer one waits
    assert state(FAILED, asked, fact("attempt", "dead", 2, 40_500, reason="exhausted")) == "retrying"


def test_the_last_attempt_stays_when_none_follows() -> None:
    gone = fact("attempt", "cancelled", 1, 9000, reason="endpoint_removed")
    assert (told(FAILED, gone).status, told(FAILED, gone).state) == (500, "cancelled")
    aside = fact("aside", "dead", 1, 30, last=LastOutcome(status=1, result="r", error=None, duration_ms=None))
    assert told(FAILED, aside).status == 500


def test_the_time_of_a_delayed_first_attempt_is_shown_until_there_is_one() -> None:
    handed = msgspec.structs.replace(HANDED, deliver_at_ms=NOW + 60_000)
    released = msgspec.structs.replace(handed, at_ms=NOW + 60_000)
    assert told(handed).next_attempt_at_ms == told(handed, released).next_attempt_at_ms == NOW + 60_000
    assert told(handed, FAILED).next_attempt_at_ms == told(FAILED, handed).next_attempt_at_ms is None
    other = msgspec.structs.replace(handed, deliver_at_ms=NOW + 1)
    assert told(handed, other) == told(other, handed)


STATES: dict[FactSource, list[SnapshotState]] = {
    "delivery": ["pending", "retrying"],
    "aside": ["dead", "paused"],
    "attempt": ["retrying", "delivered", "dead", "cancelled", "paused"],
}


@st.composite
def facts(draw: st.DrawFn) -> DeliveryFact:
    kind = draw(st.sampled_from(sorted(STATES)))
    attempts = draw(st.integers(0, 3))
    said = draw(st.sampled_from(STATES[kind]))
    if kind == "delivery":
        said = "retrying" if attempts else "pending"
    # a broker gives the records of a topic different times, or an order: the same moment twice says the same
    return fact(
        kind,
        said,
        attempts,
        draw(st.integers(0, 10)) * 3 + ["delivery", "aside", "attempt"].index(kind),
        revision=draw(st.integers(0, 1)),
        reason=f"{kind} {attempts}",
    )


@given(st.lists(facts(), min_size=1, max_size=8, unique_by=lambda each: (each.kind, each.at_ms)), st.randoms())
def test_the_order_of_reading_does_not_matter(given: list[DeliveryFact], dice: object) -> None:
    shuffled = list(given)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _shown(told(*shuffled)) == _shown(told(*given))


@given(st.lists(facts(), min_size=1, max_size=8))
def test_read_again_it_is_the_same(given: list[DeliveryFact]) -> None:
    once = told(*given)
    assert _shown(told(*given, *given)) == _shown(once)


def _shown(standing: DeliverySnapshot) -> object:
    """What is shown of it."""
    return (
        standing.state,
        standing.attempts,
        standing.reason,
        standing.status,
        standing.result,
        standing.updated_at_ms,
        standing.revision,
    )
