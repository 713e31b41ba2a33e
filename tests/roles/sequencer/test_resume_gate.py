"""The gate of an endpoint: which way an arrival goes, and whose steps move it."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay
from app.core.records.ordered import GateStep
from app.roles.sequencer.resume_gate import ResumeGate, arrive, comes_back, obey, prefix

OPEN, ASIDE, HELD = ResumeGate(), ResumeGate(3, "parking", "s"), ResumeGate(3, "holding", "s")


def directory(resume: str | None = None, **fields: Any) -> Directory:
    known = Directory()
    endpoint = {"ordering": "fifo", **fields}
    known.put_endpoint(
        Endpoint(id="ep", tenant="t", mode="live", url="https://e.x", events=("*",), profile="standard", **endpoint)
    )
    if resume is not None:
        known.put_replay(_resume(resume))
    return known


def _resume(state: Any, replay_id: str = "rpl", reason: Any = "resume") -> Replay:
    return Replay(id=replay_id, tenant="t", mode="live", endpoint_id="ep", reason=reason, begin={}, end={}, state=state)


ACTIVE, PAUSED, DISABLED, GONE = directory(), directory(status="paused"), directory(status="disabled"), Directory()
RESUMED = directory("running")
AGAIN = directory("running", status="paused")


@pytest.mark.parametrize(
    ("gate", "known", "way", "move", "state"),
    [
        (OPEN, ACTIVE, "enqueue", "none", "open"),
        (OPEN, RESUMED, "enqueue", "none", "open"),  # nothing was put aside here
        (OPEN, PAUSED, "park", "none", "parking"),
        (OPEN, DISABLED, "enqueue", "none", "open"),  # dispatch cancels it
        (OPEN, GONE, "enqueue", "none", "open"),
        (OPEN, directory(status="paused", ordering="none"), "enqueue", "none", "open"),
        (ASIDE, PAUSED, "park", "none", "parking"),
        (ASIDE, RESUMED, "park", "none", "parking"),
        (ASIDE, ACTIVE, "hold", "none", "holding"),  # nobody would bring it
        (ASIDE, DISABLED, "hold", "none", "holding"),
        (ASIDE, directory("running", ordering="none"), "hold", "none", "holding"),
        (HELD, RESUMED, "hold", "none", "holding"),
        (HELD, AGAIN, "park", "park held", "parking"),
        (HELD, GONE, "hold", "none", "holding"),
    ],
)
def test_an_arrival_goes_where_a_resume_finds_it_or_behind_what_one_brings(
    gate: ResumeGate, known: Directory, way: str, move: str, state: str
) -> None:
    moved, found, does = arrive(gate, 9, "ep", known, resumed=False)
    assert (found, does, moved.state) == (way, move, state)
    assert arrive(gate, 9, "ep", known, resumed=True) == (gate, "enqueue", "none")


def test_a_pause_ends_the_stint_of_a_resume() -> None:
    moved, _, _ = arrive(HELD, 9, "ep", AGAIN, resumed=False)
    assert obey(moved, 10, GateStep("open", "s"), "ep", AGAIN) == (moved, "none")


def test_what_comes_back_stops_its_line_while_the_endpoint_is_paused() -> None:
    assert comes_back(OPEN, 9, "ep", PAUSED) == (ResumeGate(9, "parking"), True)
    assert comes_back(HELD, 9, "ep", AGAIN) == (HELD, True)
    for known in (ACTIVE, RESUMED, DISABLED, GONE):
        assert comes_back(OPEN, 9, "ep", known) == (OPEN, False)


def test_a_resume_goes_through_its_steps() -> None:
    gate, move = obey(OPEN, 4, GateStep("parking", "a"), "ep", RESUMED)
    assert (gate, move) == (ResumeGate(4, "parking", "a"), "park held, release next")
    gate, move = obey(gate, 5, GateStep("holding", "a"), "ep", RESUMED)
    assert (gate, move) == (ResumeGate(5, "holding", "a"), "none")
    assert obey(gate, 4, GateStep("parking", "a"), "ep", RESUMED) == (gate, "none"), "read again"
    assert obey(gate, 6, GateStep("open", "a"), "ep", RESUMED) == (ResumeGate(6), "release all")


def test_a_worker_that_was_replaced_moves_nothing() -> None:
    gate, _ = obey(HELD, 4, GateStep("parking", "new"), "ep", RESUMED)
    for to in ("holding", "open"):
        assert obey(gate, 5, GateStep(to, "s"), "ep", RESUMED) == (gate, "none")


@pytest.mark.parametrize("resume_run", ["", "s"])
def test_a_gate_that_is_given_up_opens_only_where_no_resume_is_to_come(resume_run: str) -> None:
    for known in (PAUSED, RESUMED, AGAIN):
        held, _, _ = arrive(HELD, 4, "ep", ACTIVE, resumed=False)  # when nothing was to come
        assert obey(held, 5, GateStep("open", resume_run), "ep", known) == (held, "none")
        assert obey(ASIDE, 5, GateStep("open", resume_run), "ep", known) == (ASIDE, "none")
    for known in (ACTIVE, DISABLED, GONE):
        assert obey(ASIDE, 5, GateStep("open", resume_run), "ep", known) == (ResumeGate(5), "release all")


@pytest.mark.parametrize("known", [ACTIVE, DISABLED, GONE, directory("running", ordering="none")])
def test_the_begin_of_a_resume_that_has_ended_meanwhile_puts_nothing_aside(known: Directory) -> None:
    assert obey(HELD, 5, GateStep("parking", "late"), "ep", known) == (HELD, "none")


def test_only_a_removed_endpoint_has_its_lines_let_go_though_its_gate_is_open() -> None:
    assert obey(OPEN, 5, GateStep("open"), "ep", ACTIVE) == (OPEN, "none")
    assert obey(OPEN, 5, GateStep("open"), "ep", GONE) == (ResumeGate(5), "release all")


def test_the_directory_knows_for_whom_something_is_still_brought() -> None:
    known = directory("pending")
    assert known.brings("ep") and not known.brings("another")
    for state in ("running", "paused"):
        known.put_replay(_resume(state))
        assert known.brings("ep")
    known.put_replay(_resume("pending", "second"))
    known.put_replay(_resume("done"))
    assert known.brings("ep")
    known.remove_replay("second")
    known.put_replay(_resume("running", "third", "replay"))
    assert not known.brings("ep")


def test_gates_of_one_partition_are_told_from_those_of_another() -> None:
    assert not (prefix(12) + b"ep").startswith(prefix(1))
