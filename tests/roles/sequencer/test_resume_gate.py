"""Which way an arrival goes at an endpoint's resume gate, and whose steps move the gate."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay
from app.core.records.ordered import GateStep
from app.roles.sequencer.resume_gate import ResumeGate, apply, arrive, comes_back, prefix

OPEN, PARKING, HOLDING = ResumeGate(), ResumeGate(3, "parking", "s"), ResumeGate(3, "holding", "s")


def directory_of(resume: str | None = None, **fields: Any) -> Directory:
    directory = Directory()
    endpoint = {"ordering": "fifo", **fields}
    directory.put_endpoint(
        Endpoint(id="ep", tenant="t", mode="live", url="https://e.x", events=("*",), profile="standard", **endpoint)
    )
    if resume is not None:
        directory.put_replay(_resume(resume))
    return directory


def _resume(state: Any, replay_id: str = "rpl", reason: Any = "resume") -> Replay:
    return Replay(id=replay_id, tenant="t", mode="live", endpoint_id="ep", reason=reason, begin={}, end={}, state=state)


ACTIVE, PAUSED, DISABLED, GONE = (
    directory_of(),
    directory_of(status="paused"),
    directory_of(status="disabled"),
    Directory(),
)
RESUMED = directory_of("running")
AGAIN = directory_of("running", status="paused")


@pytest.mark.parametrize(
    ("gate", "directory", "way", "move", "state"),
    [
        (OPEN, ACTIVE, "enqueue", "none", "open"),
        (OPEN, RESUMED, "enqueue", "none", "open"),  # nothing was put aside here
        (OPEN, PAUSED, "park", "none", "parking"),
        (OPEN, DISABLED, "enqueue", "none", "open"),  # dispatch cancels it
        (OPEN, GONE, "enqueue", "none", "open"),
        (OPEN, directory_of(status="paused", ordering="none"), "enqueue", "none", "open"),
        (PARKING, PAUSED, "park", "none", "parking"),
        (PARKING, RESUMED, "park", "none", "parking"),
        (PARKING, ACTIVE, "hold", "none", "holding"),  # nobody would bring it
        (PARKING, DISABLED, "hold", "none", "holding"),
        (PARKING, directory_of("running", ordering="none"), "hold", "none", "holding"),
        (HOLDING, RESUMED, "hold", "none", "holding"),
        (HOLDING, AGAIN, "park", "park held", "parking"),
        (HOLDING, GONE, "hold", "none", "holding"),
    ],
)
def test_admission_depends_on_the_state_of_the_gate(
    gate: ResumeGate, directory: Directory, way: str, move: str, state: str
) -> None:
    moved, admission, does = arrive(gate, 9, "ep", directory, resumed=False)
    assert (admission, does, moved.state) == (way, move, state)
    assert arrive(gate, 9, "ep", directory, resumed=True) == (gate, "enqueue", "none")


def test_a_pause_ends_a_resume_run() -> None:
    moved, _, _ = arrive(HOLDING, 9, "ep", AGAIN, resumed=False)
    assert apply(moved, 10, GateStep("open", "s"), "ep", AGAIN) == (moved, "none")


def test_a_returned_delivery_stops_its_queue_while_the_endpoint_is_paused() -> None:
    assert comes_back(OPEN, 9, "ep", PAUSED) == (ResumeGate(9, "parking"), True)
    assert comes_back(HOLDING, 9, "ep", AGAIN) == (HOLDING, True)
    for directory in (ACTIVE, RESUMED, DISABLED, GONE):
        assert comes_back(OPEN, 9, "ep", directory) == (OPEN, False)


def test_a_resume_goes_through_its_steps() -> None:
    gate, move = apply(OPEN, 4, GateStep("parking", "a"), "ep", RESUMED)
    assert (gate, move) == (ResumeGate(4, "parking", "a"), "park held, release next")
    gate, move = apply(gate, 5, GateStep("holding", "a"), "ep", RESUMED)
    assert (gate, move) == (ResumeGate(5, "holding", "a"), "none")
    assert apply(gate, 4, GateStep("parking", "a"), "ep", RESUMED) == (gate, "none"), "read again"
    assert apply(gate, 6, GateStep("open", "a"), "ep", RESUMED) == (ResumeGate(6), "release all")


def test_a_replaced_worker_does_not_move_the_gate() -> None:
    gate, _ = apply(HOLDING, 4, GateStep("parking", "new"), "ep", RESUMED)
    for to in ("holding", "open"):
        assert apply(gate, 5, GateStep(to, "s"), "ep", RESUMED) == (gate, "none")


@pytest.mark.parametrize("resume_run", ["", "s"])
def test_an_abandoned_gate_opens_only_without_another_resume(resume_run: str) -> None:
    for directory in (PAUSED, RESUMED, AGAIN):
        held, _, _ = arrive(HOLDING, 4, "ep", ACTIVE, resumed=False)  # when nothing was to come
        assert apply(held, 5, GateStep("open", resume_run), "ep", directory) == (held, "none")
        assert apply(PARKING, 5, GateStep("open", resume_run), "ep", directory) == (PARKING, "none")
    for directory in (ACTIVE, DISABLED, GONE):
        assert apply(PARKING, 5, GateStep("open", resume_run), "ep", directory) == (ResumeGate(5), "release all")


@pytest.mark.parametrize("directory", [ACTIVE, DISABLED, GONE, directory_of("running", ordering="none")])
def test_the_beginning_of_a_resume_that_has_ended_parks_nothing(directory: Directory) -> None:
    assert apply(HOLDING, 5, GateStep("parking", "late"), "ep", directory) == (HOLDING, "none")


def test_the_queues_of_a_removed_endpoint_are_released_though_its_gate_is_open() -> None:
    assert apply(OPEN, 5, GateStep("open"), "ep", ACTIVE) == (OPEN, "none")
    assert apply(OPEN, 5, GateStep("open"), "ep", GONE) == (ResumeGate(5), "release all")


def test_open_resumes_of_the_directory() -> None:
    directory = directory_of("pending")
    assert directory.has_open_resume("ep") and not directory.has_open_resume("another")
    for state in ("running", "paused"):
        directory.put_replay(_resume(state))
        assert directory.has_open_resume("ep")
    directory.put_replay(_resume("pending", "second"))
    directory.put_replay(_resume("done"))
    assert directory.has_open_resume("ep")
    directory.remove_replay("second")
    directory.put_replay(_resume("running", "third", "replay"))
    assert not directory.has_open_resume("ep")


def test_gates_of_partitions_are_distinct() -> None:
    assert not (prefix(12) + b"ep").startswith(prefix(1))
