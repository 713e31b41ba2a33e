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
    known = {"url": "https://e.x", "events": ("*",), "profile": "standard", "tenant": "t", "mode": "live", **fields}
    return Endpoint(id=name, **known)


def replay(target: str = "", **fields: Any) -> Replay:
    known = {"reason": "replay", "begin": {0: 0}, "end": {0: 9}, "created_at_ms": 100, **fields}
    return Replay(id="rpl", tenant="t", mode="live", endpoint_id=target, **known)


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
    made = Directory()
    for each in endpoints:
        made.put_endpoint(each)
    return made


# --- for whom -----------------------------------------------------------------------------------------------------


def test_a_replay_is_for_those_that_match_now_and_were_there_when_it_was_asked_for() -> None:
    known = directory(
        endpoint("a"),
        endpoint("b", events=("x.*",)),
        endpoint("later", created_at_ms=101),
        endpoint("other", tenant="u"),
        endpoint("test", mode="test"),
        endpoint("off", status="disabled"),
    )
    assert targets(replay(), known, "a.b") == ("a", "off"), "what becomes of it is decided when its turn comes"
    assert targets(replay("later"), known, "a.b") == ("later",), "who is named is meant"
    assert targets(replay("b"), known, "a.b") == ()
    assert [each.id for each in covered(replay(), known)] == ["a", "b", "off"]
    assert [each.id for each in covered(replay("later"), known)] == ["later"]
    assert covered(replay("gone"), known) == []


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
def test_types_narrow_a_replay(types: tuple[str, ...], event_type: str, meant: bool) -> None:
    assert bool(targets(replay(types=types), directory(endpoint()), event_type)) is meant


def test_what_was_put_aside_waits_while_its_resume_is_to_come() -> None:
    known = directory(endpoint())
    assert not waits_for_resume(endpoint(), known)
    assert waits_for_resume(endpoint(status="paused"), known)
    for state, waits in (("running", True), ("paused", True), ("done", False), ("cancelled", False)):
        known.put_replay(replay("ep", reason="resume", state=state))
        assert waits_for_resume(endpoint(), known) is waits
    known.put_replay(replay("ep", state="running"))
    assert not waits_for_resume(endpoint(), known), "a replay of a span gives nothing that was put aside"


# --- what has become of it -----------------------------------------------------------------------------------------


def chosen(only: ReplayFilter, *said: tuple[int, str]) -> bool:
    piece, wanted = EventChunk(only), event()
    piece.want(wanted, record(3), ("ep", "ep2"))
    for at_ms, state in said:
        piece.said("ep", "e", at_ms, state)
        piece.said("ep", "another event", at_ms, "delivered")
        piece.said("stranger", "e", at_ms, "delivered")
    return "ep" in piece.chosen(wanted, record(3))


@pytest.mark.parametrize(
    ("said", "failed", "missing"),
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
def test_the_last_word_of_the_log_counts(said: tuple[tuple[int, str], ...], failed: bool, missing: bool) -> None:
    assert chosen("failed", *said) is failed
    assert chosen("missing", *said) is missing
    assert chosen("all", *said)


STATES = ["delivered", "retrying", "dead", "cancelled"]


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from(STATES)), max_size=8, unique_by=lambda each: each[0]))
def test_failed_and_missing_exclude_each_other_and_do_not_depend_on_the_order_of_reading(
    said: list[tuple[int, str]],
) -> None:
    failed, missing = chosen("failed", *said), chosen("missing", *said)
    assert not (failed and missing)
    assert missing is (not said)
    assert (failed, missing) == (chosen("failed", *reversed(said)), chosen("missing", *reversed(said)))


def test_each_endpoint_has_outcomes_of_its_own() -> None:
    piece = EventChunk("missing")
    for offset, name in enumerate("xy"):
        piece.want(event(name=name), record(offset), ("a", "b"))
    piece.said("a", "x", 1, "delivered")
    piece.said("b", "y", 1, "dead")
    assert piece.chosen(event(name="x"), record(0)) == ["b"]
    assert piece.chosen(event(name="y"), record(1)) == ["a"]
    assert piece.size == 4 and set(piece.endpoints) == {"a", "b"}
    assert piece.chosen(event(name="x"), record(7)) == [], "it was not in the piece"


def test_what_the_replay_has_handed_out_itself_is_not_chosen_again() -> None:
    piece, wanted = EventChunk(), event()
    piece.want(wanted, record(3), ("a", "b"))
    piece.made("a", "e", "park")
    piece.made("stranger", "e", "deliver")
    assert piece.chosen(wanted, record(3)) == ["b"]
    assert piece.repeated(wanted, record(3)) == [("a", "park")]
    assert piece.repeated(event(name="another"), record(4)) == []


# --- as fan-out decided it ------------------------------------------------------------------------------------------


def test_a_sight_says_that_an_event_is_none_of_a_producers_duplicates_and_its_sequence() -> None:
    piece = EventChunk()
    keyed, plain = event(key="k", ordering="o"), event()
    for offset in (3, 4, 5):
        piece.want(keyed, record(offset, 1000 + offset), ("ep",))
    piece.want(plain, record(6, 1), ("ep", "ep2"))
    assert (piece.size, piece.partitions) == (5, [0])
    piece.learn(
        0,
        idempotency_entry.encode(
            (AcceptedRecord(0, 1, 9, 40), AcceptedRecord(0, 3, 9, 41), AcceptedRecord(1, 5, 9, 7))
        ),
    )
    piece.learn(0, idempotency_entry.encode((AcceptedRecord(0, 4, 9, 0),)))
    piece.learn(1, idempotency_entry.encode((AcceptedRecord(0, 5, 9, 7),)))
    piece.learn(0, None)
    assert piece.decided(keyed, record(3)) == (True, 41)
    assert piece.decided(keyed, record(4)) == (True, None), "a key, and no order"
    assert piece.decided(keyed, record(5)) == (False, None), "another partition's sight"
    assert piece.decided(plain, record(6)) == (True, None), "nothing is known of it, and nothing has to be"


def test_the_changelog_is_read_from_the_earlier_of_the_first_event_and_the_hold() -> None:
    job = replay("ep", reason="recover")
    hold = Suspension(kind="disabled", since_ms=500_000, begin={0: 0}, end={0: 9})
    piece = EventChunk()
    piece.want(event(key="k"), record(0, 9_000_000), ("ep",))
    assert piece.since_ms(job, endpoint(suspensions=(hold,))) == 440_000, "the producer's clock is ahead"
    assert piece.since_ms(job, endpoint()) == 8_940_000
    piece.want(event(key="k"), record(1, 400_000), ("ep",))
    assert piece.since_ms(job, endpoint(suspensions=(hold,))) == 340_000
    piece.want(event(key="k"), record(2, -1), ("ep",))
    assert piece.since_ms(job, endpoint(suspensions=(hold,))) == 0


def test_a_span_is_looked_for_from_an_hour_before_its_first_event_on() -> None:
    piece = EventChunk("missing")
    piece.want(event(), record(0, 9_000_000), ("ep",))
    assert piece.since_ms(replay(), None) == 5_400_000, "producers' clocks may be ahead"
