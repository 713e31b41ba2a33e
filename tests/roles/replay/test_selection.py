"""Which deliveries a replay makes: as fan-out decided, and by what the log says last about each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint, Suspension
from app.core.model.event import Event
from app.core.model.replay import Replay, ReplayFilter
from app.core.records import idempotency_entry
from app.core.records.idempotency_entry import AcceptedRecord
from app.roles.replay.selection import EventChunk, covered, targets, waits_for_resume
from tests.fakes.log import MemoryRecord


def endpoint(name: str = "ep", **fields: Any) -> Endpoint:
    merged = {"url": "https://e.x", "events": ("*",), "profile": "standard", "tenant": "t", "mode": "live", **fields}
    return Endpoint(id=name, **merged)


def replay(target: str = "", **fields: Any) -> Replay:
    merged = {"reason": "replay", "begin": {0: 0}, "end": {0: 9}, "created_at_ms": 100, **fields}
    return Replay(id="rpl", tenant="t", mode="live", endpoint_id=target, **merged)


def record(offset: int, timestamp: int = 0) -> MemoryRecord:
    return MemoryRecord("topic", 0, offset, timestamp, b"ep", b"v", [])


def event(*, key: str | None = None, ordering: str | None = None, name: str = "e") -> Event:
    return Event(
        id=name,
        type="a.b",
        tenant="t",
        mode="live",
        created_at="",
        body=b"{}",
        format="native",
        idempotency_key=key,
        ordering_key=ordering,
    )


def directory(*endpoints: Endpoint) -> Directory:
    filled = Directory()
    for each in endpoints:
        filled.put_endpoint(each)
    return filled


# --- for whom -----------------------------------------------------------------------------------------------------


def test_targets_match_now_and_existed_when_the_replay_was_created() -> None:
    registry = directory(
        endpoint("a"),
        endpoint("b", events=("x.*",)),
        endpoint("later", created_at_ms=101),
        endpoint("other", tenant="u"),
        endpoint("test", mode="test"),
        endpoint("off", status="disabled"),
    )
    assert targets(replay(), registry, "a.b") == ("a", "off"), "what becomes of it is decided when its turn comes"
    assert targets(replay("later"), registry, "a.b") == ("later",), "who is named is meant"
    assert targets(replay("b"), registry, "a.b") == ()
    assert [each.id for each in covered(replay(), registry)] == ["a", "b", "off"]
    assert [each.id for each in covered(replay("later"), registry)] == ["later"]
    assert covered(replay("gone"), registry) == []


@pytest.mark.parametrize(
    ("types", "event_type", "meant"),
    [
        ((), "a.b", True),
        (("a.b",), "a.b", True),
        (("a.*", "c"), "a.b.c", True),
        (("*",), "z", True),
        (("a",), "a.b", False),
        (("b.*", "c"), "a.b", False),
    ],
)
def test_types_limit_a_replay_of_events(types: tuple[str, ...], event_type: str, meant: bool) -> None:
    assert bool(targets(replay(types=types), directory(endpoint()), event_type)) is meant


def test_parked_deliveries_wait_while_their_resume_is_to_come() -> None:
    registry = directory(endpoint())
    assert not waits_for_resume(endpoint(), registry)
    assert waits_for_resume(endpoint(status="paused"), registry)
    for state, waits in (("running", True), ("paused", True), ("done", False), ("cancelled", False)):
        registry.put_replay(replay("ep", reason="resume", state=state))
        assert waits_for_resume(endpoint(), registry) is waits
    registry.put_replay(replay("ep", state="running"))
    assert not waits_for_resume(endpoint(), registry), "a replay of a span gives nothing that was put aside"


# --- what has become of it -----------------------------------------------------------------------------------------


def selected(only: ReplayFilter, *outcomes: tuple[int, str]) -> bool:
    chunk, wanted = EventChunk(only), event()
    chunk.add_event(wanted, record(3), ("ep", "ep2"))
    for at_ms, state in outcomes:
        chunk.add_outcome("ep", "e", at_ms, state)
        chunk.add_outcome("ep", "another event", at_ms, "delivered")
        chunk.add_outcome("stranger", "e", at_ms, "delivered")
    return "ep" in chunk.selected(wanted, record(3))


@pytest.mark.parametrize(
    ("outcomes", "failed", "missing"),
    [
        ((), False, True),
        (((5, "dead"),), True, False),
        (((5, "retrying"), (6, "dead")), True, False),
        (((5, "dead"), (6, "delivered")), False, False),
        (((6, "delivered"), (5, "dead")), False, False),
        (((5, "delivered"), (6, "dead")), True, False),
        (((5, "dead"), (6, "retrying")), False, False),
        (((5, "dead"), (6, "cancelled")), True, False),
        (((5, "cancelled"),), False, False),
        (((5, "under way"),), False, False),
    ],
)
def test_the_latest_record_decides(outcomes: tuple[tuple[int, str], ...], failed: bool, missing: bool) -> None:
    assert selected("failed", *outcomes) is failed
    assert selected("missing", *outcomes) is missing
    assert selected("all", *outcomes)


STATES = ["delivered", "retrying", "dead", "cancelled"]


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from(STATES)), max_size=8, unique_by=lambda each: each[0]))
def test_failed_and_missing_exclude_each_other_and_do_not_depend_on_the_order_of_reading(
    outcomes: list[tuple[int, str]],
) -> None:
    failed, missing = selected("failed", *outcomes), selected("missing", *outcomes)
    assert not (failed and missing)
    assert missing is (not outcomes)
    assert (failed, missing) == (selected("failed", *reversed(outcomes)), selected("missing", *reversed(outcomes)))


def test_each_endpoint_has_outcomes_of_its_own() -> None:
    chunk = EventChunk("missing")
    for offset, name in enumerate("xy"):
        chunk.add_event(event(name=name), record(offset), ("a", "b"))
    chunk.add_outcome("a", "x", 1, "delivered")
    chunk.add_outcome("b", "y", 1, "dead")
    assert chunk.selected(event(name="x"), record(0)) == ["b"]
    assert chunk.selected(event(name="y"), record(1)) == ["a"]
    assert chunk.size == 4 and set(chunk.endpoints) == {"a", "b"}
    assert chunk.selected(event(name="x"), record(7)) == [], "it was not in the chunk"


def test_handed_out_deliveries_are_not_selected_again() -> None:
    chunk, wanted = EventChunk(), event()
    chunk.add_event(wanted, record(3), ("a", "b"))
    chunk.add_handed_out("a", "e", "park")
    chunk.add_handed_out("stranger", "e", "deliver")
    assert chunk.selected(wanted, record(3)) == ["b"]
    assert chunk.handed_out(wanted, record(3)) == [("a", "park")]
    assert chunk.handed_out(event(name="another"), record(4)) == []


# --- as fan-out decided it ------------------------------------------------------------------------------------------


def test_an_accepted_record_has_the_sequence_and_is_no_duplicate() -> None:
    chunk = EventChunk()
    keyed, plain = event(key="k", ordering="o"), event()
    for offset in (3, 4, 5):
        chunk.add_event(keyed, record(offset, 1000 + offset), ("ep",))
    chunk.add_event(plain, record(6, 1), ("ep", "ep2"))
    assert (chunk.size, chunk.partitions) == (5, [0])
    chunk.add_decisions(
        0,
        idempotency_entry.encode(
            (AcceptedRecord(0, 1, 9, 40), AcceptedRecord(0, 3, 9, 41), AcceptedRecord(1, 5, 9, 7))
        ),
    )
    chunk.add_decisions(0, idempotency_entry.encode((AcceptedRecord(0, 4, 9, 0),)))
    chunk.add_decisions(1, idempotency_entry.encode((AcceptedRecord(0, 5, 9, 7),)))
    chunk.add_decisions(0, None)
    assert chunk.decided(keyed, record(3)) == (True, 41)
    assert chunk.decided(keyed, record(4)) == (True, None), "a key, and no order"
    assert chunk.decided(keyed, record(5)) == (False, None), "another partition's sight"
    assert chunk.decided(plain, record(6)) == (True, None), "no decision about it is stored, and none is needed"


def test_the_changelog_is_read_from_the_first_event_or_the_suspension() -> None:
    job = replay("ep", reason="recover")
    hold = Suspension(kind="disabled", since_ms=500_000, begin={0: 0}, end={0: 9})
    chunk = EventChunk()
    chunk.add_event(event(key="k"), record(0, 9_000_000), ("ep",))
    assert chunk.since_ms(job, endpoint(suspensions=(hold,))) == 440_000, "the producer's clock is ahead"
    assert chunk.since_ms(job, endpoint()) == 8_940_000
    chunk.add_event(event(key="k"), record(1, 400_000), ("ep",))
    assert chunk.since_ms(job, endpoint(suspensions=(hold,))) == 340_000
    chunk.add_event(event(key="k"), record(2, -1), ("ep",))
    assert chunk.since_ms(job, endpoint(suspensions=(hold,))) == 0


def test_outcomes_are_read_from_an_hour_before_the_first_event() -> None:
    chunk = EventChunk("missing")
    chunk.add_event(event(), record(0, 9_000_000), ("ep",))
    assert chunk.since_ms(replay(), None) == 5_400_000, "producers' clocks may be ahead"
