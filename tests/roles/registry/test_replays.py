"""What a command does to the registry's replays."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.endpoint import Endpoint
from app.core.model.replay import Replay
from app.core.records import registry as registry_record
from app.core.records.command import (
    AdvanceReplay,
    CancelReplay,
    Command,
    CommandAction,
    CreateReplay,
    PauseReplay,
    RemoveEndpoint,
    ResumeReplay,
)
from app.roles.registry import decisions, replays
from app.roles.registry.replays import MAX_OPEN, MAX_REPLAYS

NOW = 1_000
REPLAY = Replay(
    id="rpl", tenant="acme", mode="live", endpoint_id="", reason="replay", begin={0: 1}, end={0: 9}, types=("a.*",)
)
ADVANCE = AdvanceReplay("rpl", {0: 4}, 3, "running", parked=2, skipped=1)


def endpoint(name: str, **fields: Any) -> Endpoint:
    fields = {"tenant": "acme", "mode": "live", "url": "https://x", "events": ("*",), "profile": "standard", **fields}
    return Endpoint(id=name, **fields)


def after(*actions: CommandAction) -> Directory:
    directory = Directory()
    for each in (endpoint("ep"), endpoint("off", status="disabled"), endpoint("test", mode="test")):
        directory.put_endpoint(each)
    for action in actions:
        command = Command(id="c", issued_at_ms=1, action=action)
        for change in decisions.decide(command, directory, NOW, {"standard"}):
            registry_record.apply(directory, change.key, registry_record.encode(change.value))
    return directory


def state(*actions: CommandAction) -> Replay:
    return after(*actions).replays["rpl"]


def asked(**fields: Any) -> CreateReplay:
    return CreateReplay(msgspec.structs.replace(REPLAY, **fields))


def test_a_new_replay_begins_without_progress_whatever_the_command_contains() -> None:
    created = state(asked(state="done", done={0: 9}, sent=5, version=7))
    assert (created.state, created.done, created.sent, created.version, created.created_at_ms) == (
        "pending",
        {},
        0,
        1,
        NOW,
    )
    assert state(asked(), ADVANCE, asked()).sent == 3, "asked for again, it is the same one"


def test_reported_progress_is_stored() -> None:
    created = state(asked(), ADVANCE)
    assert (created.state, created.done, created.sent, created.parked, created.skipped) == ("running", {0: 4}, 3, 2, 1)


def test_a_replay_stays_paused_although_its_worker_reports_its_end() -> None:
    paused = state(asked(), PauseReplay("rpl"), ADVANCE)
    assert (paused.state, paused.sent) == ("paused", 3)
    assert state(asked(), PauseReplay("rpl"), ResumeReplay("rpl")).state == "pending"
    assert state(asked(), ADVANCE, PauseReplay("rpl"), ResumeReplay("rpl")).state == "running"
    assert state(asked(), PauseReplay("rpl"), AdvanceReplay("rpl", {0: 9}, 5, "done")).state == "done"
    assert state(asked(), ADVANCE, ResumeReplay("rpl")).version == 2, "nothing was paused"


@pytest.mark.parametrize("end", [CancelReplay("rpl"), AdvanceReplay("rpl", {0: 9}, 5, "done")])
def test_a_delivery_that_has_ended_does_not_change(end: CommandAction) -> None:
    before = state(asked(), end)
    for action in (ADVANCE, PauseReplay("rpl"), ResumeReplay("rpl"), CancelReplay("rpl")):
        assert state(asked(), end, action) == before


@pytest.mark.parametrize("action", [ADVANCE, PauseReplay("rpl"), ResumeReplay("rpl"), CancelReplay("rpl")])
def test_an_unknown_replay_is_refused(action: CommandAction) -> None:
    with pytest.raises(CommandRefused, match="there is no replay rpl"):
        after(action)


@pytest.mark.parametrize(
    ("fields", "begins"),
    [
        ({"endpoint_id": "none"}, "endpoint: there is no endpoint none"),
        ({"endpoint_id": "test"}, "endpoint: there is no endpoint test"),
        ({"endpoint_id": "ep", "tenant": "other"}, "endpoint: there is no endpoint ep"),
        ({"endpoint_id": "off"}, "endpoint: off is disabled: enable it first"),
        ({"types": ("a b",)}, "types: 'a b': write an exact type"),
        ({"types": ("a",) * 101}, "types: 100 at most"),
        ({"rate": 0.0}, "rate: deliveries per second"),
        ({"rate": float("inf")}, "rate: deliveries per second"),
    ],
)
def test_an_invalid_replay_is_refused_with_the_field(fields: dict[str, Any], begins: str) -> None:
    with pytest.raises(CommandRefused) as caught:
        after(asked(**fields))
    assert caught.value.code == "invalid" and caught.value.detail.startswith(begins)
    assert replays.problems(msgspec.structs.replace(REPLAY, **fields), after()) == [caught.value.detail]


def test_a_tenants_open_replays_are_limited_and_those_that_ended_forgotten() -> None:
    some = [asked(id=f"rpl_{number:02}") for number in range(MAX_OPEN)]
    with pytest.raises(CommandRefused, match="have not ended"):
        after(*some, asked())
    assert after(*some, asked(tenant="other")).replays["rpl"]
    assert after(*some, CancelReplay("rpl_00"), asked()).replays["rpl"]
    steps: list[CommandAction] = []
    for number in range(MAX_REPLAYS + 5):
        steps += [asked(id=f"rpl_{number:02}"), CancelReplay(f"rpl_{number:02}")]
    remaining = after(*steps, asked(endpoint_id="ep")).replays
    assert sorted(remaining) == ["rpl", *(f"rpl_{number:02}" for number in range(5, MAX_REPLAYS + 5))]


def test_removing_an_endpoint_removes_its_own_replays_only() -> None:
    left = after(asked(), asked(id="one", endpoint_id="ep"), RemoveEndpoint("ep")).replays
    assert list(left) == ["rpl"]
