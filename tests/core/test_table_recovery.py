"""What a worker that was replaced writes late does not count in a recovery."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.core.table_recovery import later_state
from app.roles.fanout.sequences import later_count
from app.roles.health.transitions import HealthState
from app.roles.sequencer.key_queue import KeyQueue
from app.roles.sequencer.resume_gate import ResumeGate
from app.roles.sequencer.table_versions import later_queue

encode = msgspec.msgpack.encode


def test_an_older_key_queue_does_not_replace_a_newer_one() -> None:
    new, old = encode(KeyQueue(applied=1047)), encode(KeyQueue(applied=842, in_flight=524, waiting=(545, 568)))
    assert not later_queue(new, old), "it would wait for ever for what has been settled"
    assert later_queue(old, new)
    assert later_queue(None, old)


@pytest.mark.parametrize(
    "busy", [KeyQueue(5, in_flight=3), KeyQueue(5, waiting=(4,)), KeyQueue(5, blocked=2), ResumeGate(5, "parking", "s")]
)
def test_tombstones_do_not_remove_busy_entries(busy: KeyQueue | ResumeGate) -> None:
    assert not later_queue(encode(busy), None)


@pytest.mark.parametrize("resting", [KeyQueue(5), ResumeGate(5)])
def test_tombstones_remove_idle_entries(resting: KeyQueue | ResumeGate) -> None:
    assert later_queue(encode(resting), None)


def test_the_health_of_an_endpoint_never_goes_back_and_may_be_forgotten() -> None:
    assert not later_state(encode(HealthState(applied=9)), encode(HealthState(applied=8, failures=3)))
    assert later_state(encode(HealthState(applied=9)), encode(HealthState(applied=9)))
    assert later_state(encode(HealthState(applied=9)), None)


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_a_smaller_counter_does_not_replace_a_larger_one(known: int, said: int) -> None:
    assert later_count(known.to_bytes(8, "big"), said.to_bytes(8, "big")) == (said >= known)


@example(None, b"\x91\xa1\x80")  # text that is not UTF-8: not a DecodeError of msgspec
@given(st.binary(max_size=20) | st.none(), st.binary(max_size=20) | st.none())
def test_any_table_values_can_be_compared(old: bytes | None, new: bytes | None) -> None:
    later_queue(old, new), later_state(old, new), later_count(old, new)
