"""Registry decisions: pause, disablement, recovery, health and circuit of an endpoint."""

from __future__ import annotations

import msgspec
import pytest

from app.core.errors import CommandRefused
from app.core.model.endpoint import Endpoint, OpenCircuit
from app.core.records import command as command_record
from app.core.records.command import CommandAction, RemoveEndpoint, UpdateEndpoint
from app.profiles.catalog import PROFILES
from app.roles.registry import decisions
from tests.roles.registry.registry_stage import (
    DISABLE,
    ENDPOINT,
    NOW,
    PAUSE,
    RESUME,
    alive,
    changed,
    decide,
    directory,
    refused,
)


def test_a_resume_creates_a_replay_of_parked_deliveries() -> None:
    paused = alive(PAUSE)
    assert paused.endpoint("ep_1").status == "paused"  # type: ignore[union-attr]
    assert alive(PAUSE, PAUSE).endpoint("ep_1").version == paused.endpoint("ep_1").version  # type: ignore[union-attr]
    resumed = alive(PAUSE, RESUME)
    assert resumed.endpoint("ep_1").status == "active"  # type: ignore[union-attr]
    replay = resumed.replays["rpl_1"]
    assert (replay.reason, replay.dead_begin, replay.state, replay.version) == ("resume", 3, "pending", 1)
    assert (replay.tenant, replay.mode, replay.endpoint_id) == ("acme", "live", "ep_1")


def test_a_disablement_is_recovered_only_on_request_and_once() -> None:
    enabled = alive(DISABLE, RESUME)
    assert not enabled.replays
    recover = command_record.RecoverEndpoint("ep_1", "rpl_2")
    recovered = alive(DISABLE, RESUME, recover, recover)
    replay = recovered.replays["rpl_2"]
    assert (replay.reason, replay.begin, replay.end, replay.dead_begin) == ("recover", {0: 5, 1: 7}, {0: 9, 1: 7}, None)
    assert replay.version == 1
    assert "not missed anything" in refused(recover, alive(PAUSE, RESUME))[1]
    assert "enable it first" in refused(recover, alive(DISABLE))[1]


def test_a_paused_endpoint_that_is_disabled_has_one_suspension() -> None:
    where = alive(PAUSE, DISABLE, RESUME)
    assert not where.replays
    assert [suspension.kind for suspension in where.endpoint("ep_1").suspensions] == ["disabled"]  # type: ignore[union-attr]
    assert "enable it before" in refused(PAUSE, alive(DISABLE))[1]


def test_a_replay_that_has_ended_does_not_change() -> None:
    advance = command_record.AdvanceReplay("rpl_1", {0: 9}, 12, "running")
    running = alive(PAUSE, RESUME, advance).replays["rpl_1"]
    assert (running.state, running.sent, running.done) == ("running", 12, {0: 9})
    late = alive(PAUSE, RESUME, command_record.CancelReplay("rpl_1"), advance).replays["rpl_1"]
    assert (late.state, late.sent) == ("cancelled", 0)


def test_a_closed_suspension_can_be_extended() -> None:
    later = command_record.CloseSuspension("ep_1", {0: 12, 1: 6})
    suspension = alive(DISABLE, RESUME, later).endpoint("ep_1").suspensions[-1]  # type: ignore[union-attr]
    assert suspension.end == {0: 12, 1: 7}
    assert alive(PAUSE, RESUME, later).endpoint("ep_1").suspensions[-1].end == {0: 9, 1: 7}  # type: ignore[union-attr]


def test_replays_are_removed_with_their_endpoint_and_the_oldest_at_a_limit() -> None:
    assert not alive(PAUSE, RESUME, RemoveEndpoint("ep_1")).replays
    steps: list[CommandAction] = []
    for number in range(25):
        resume = msgspec.structs.replace(RESUME, replay_id=f"rpl_{number:02}")
        steps += [PAUSE, resume, command_record.AdvanceReplay(f"rpl_{number:02}", {}, 0, "done")]
    remaining = sorted(alive(*steps).replays)
    assert (len(remaining), remaining[0], remaining[-1]) == (20, "rpl_05", "rpl_24")


MARK = command_record.MarkFailing("ep_1", 1, failing_since_ms=700, disable_at_ms=9_000)


def test_a_command_sets_and_clears_failing_since() -> None:
    shown = decide(MARK).value
    assert shown == changed(failing_since_ms=700, disable_at_ms=9_000, version=4, updated_at_ms=NOW)
    hidden = decide(command_record.MarkFailing("ep_1", 1), directory(shown)).value
    assert hidden == changed(version=5, updated_at_ms=NOW)


@pytest.mark.parametrize("action", [MARK, msgspec.structs.replace(DISABLE, epoch=1)])
def test_a_repeated_command_of_health_or_one_of_another_epoch_changes_nothing(action: CommandAction) -> None:
    once = decide(action).value
    assert isinstance(once, Endpoint)
    for where in (directory(once), directory(changed(epoch=2))):
        assert (
            decisions.decide(command_record.Command(id="c", issued_at_ms=1, action=action), where, NOW, PROFILES) == []
        )


def test_a_disabled_endpoint_shows_since_when_it_failed_and_an_enabled_one_starts_afresh() -> None:
    failing = changed(failing_since_ms=700, disable_at_ms=9_000)
    disabled = decide(msgspec.structs.replace(DISABLE, epoch=1), directory(failing)).value
    assert isinstance(disabled, Endpoint)
    assert (disabled.failing_since_ms, disabled.disable_at_ms, disabled.epoch) == (700, None, 1)
    enabled = decide(RESUME, directory(disabled)).value
    assert isinstance(enabled, Endpoint)
    assert (enabled.status, enabled.failing_since_ms, enabled.epoch) == ("active", None, enabled.version)


def test_a_pause_does_not_end_a_failure() -> None:
    failing = changed(failing_since_ms=700, disable_at_ms=9_000)
    paused = decide(PAUSE, directory(failing)).value
    assert isinstance(paused, Endpoint)
    assert (paused.failing_since_ms, paused.disable_at_ms, paused.epoch) == (700, 9_000, 1)


def test_a_circuit_is_shown_without_a_new_version_and_ends_with_the_epoch() -> None:
    mark = OpenCircuit(since_ms=700, probe_at_ms=900)
    opened = decide(command_record.MarkCircuit("ep_1", 1, mark))
    assert isinstance(opened.value, Endpoint) and opened.value.circuit == mark
    assert (opened.version, opened.value.version, opened.value.updated_at_ms) == (
        ENDPOINT.version,
        ENDPOINT.version,
        ENDPOINT.updated_at_ms,
    )
    where = directory(opened.value)
    for again in (command_record.MarkCircuit("ep_1", 1, mark), command_record.MarkCircuit("ep_1", 99)):
        command = command_record.Command(id="c", issued_at_ms=1, action=again)
        assert decisions.decide(command, where, 1000, PROFILES) == []
    moved = decide(UpdateEndpoint("ep_1", {"url": "https://elsewhere.example"}), where).value
    assert isinstance(moved, Endpoint) and moved.circuit is None, "another URL is another receiver"
    closed = decide(command_record.MarkCircuit("ep_1", 1), where).value
    assert isinstance(closed, Endpoint) and closed.circuit is None
    with pytest.raises(CommandRefused, match="cannot be changed"):
        decide(UpdateEndpoint("ep_1", {"circuit": None}), where)
