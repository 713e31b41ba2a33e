"""Which replays can be worked on, and where a resume ends."""

from __future__ import annotations

from typing import Any

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint, EndpointStatus, Suspension
from app.core.model.replay import Replay
from app.roles.replay.eligibility import parked_until, workable


def endpoint(name: str = "ep", status: EndpointStatus = "active", **fields: Any) -> Endpoint:
    return Endpoint(
        id=name, tenant="t", mode="live", url="https://e.x", events=("*",), profile="standard", status=status, **fields
    )


def replay(name: str = "rpl", target: str = "ep", **fields: Any) -> Replay:
    merged: dict[str, Any] = {"begin": {0: 0}, "end": {0: 9}, "created_at_ms": 100, **fields}
    return Replay(id=name, tenant="t", mode="live", endpoint_id=target, reason="resume", **merged)


def test_the_oldest_replay_of_each_active_or_removed_endpoint_can_be_worked_on() -> None:
    directory = Directory()
    for each in (endpoint("a"), endpoint("b", "paused"), endpoint("c", "disabled")):
        directory.put_endpoint(each)
    for each_replay in (
        replay("a2", "a", created_at_ms=7),
        replay("a1", "a", created_at_ms=5, state="running"),
        replay("b", "b"),
        replay("c", "c"),
        replay("gone", "d"),
        replay("a0", "a", created_at_ms=1, state="done"),
        replay("x", "a", created_at_ms=2, state="cancelled"),
    ):
        directory.put_replay(each_replay)
    assert [each.id for each in workable(directory, ())] == ["a1", "gone"]
    assert [each.id for each in workable(directory, {"a1", "gone"})] == ["a2"]


def test_a_resume_ends_at_the_first_delivery_parked_by_the_next_pause() -> None:
    own = Suspension(kind="paused", since_ms=50, begin={0: 0}, end={0: 9}, dead_begin=3)
    job = replay(dead_begin=3)
    assert parked_until(endpoint(suspensions=(own,)), job) is None
    later = Suspension(kind="paused", since_ms=100, begin={0: 9}, dead_begin=8)
    assert parked_until(endpoint(suspensions=(own, later)), job) == 8
    earlier = Suspension(kind="disabled", since_ms=10, begin={0: 0}, end={0: 1}, dead_begin=1)
    assert parked_until(endpoint(suspensions=(earlier, own)), job) is None
