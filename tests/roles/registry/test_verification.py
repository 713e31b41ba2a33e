"""Registry decisions: an endpoint is held back until its receiver has agreed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.records.command import CreateEndpoint, RecordHandshake, UpdateEndpoint
from app.roles.registry.verification import HOUR_MS
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

ASK = UpdateEndpoint("ep_1", {"verification": "challenge"}, None, {0: 5}, 3)


def handshake(version: int, agreed: bool = True, **fields: Any) -> RecordHandshake:
    return RecordHandshake(
        id="ep_1", version=version, agreed=agreed, result="x", end={0: 9}, replay_id="rpl_9", **fields
    )


def after(*steps: Any, endpoint: Endpoint = ENDPOINT) -> Endpoint:
    found = alive(*steps, endpoint=endpoint).endpoint("ep_1")
    assert found is not None
    return found


def test_a_new_endpoint_is_held_back_from_its_first_record_on() -> None:
    action = CreateEndpoint(changed(id="ep_2", verification="cloudevents"), {0: 4}, 2)
    created = decide(action, directory()).value
    assert isinstance(created, Endpoint) and created.unverified is not None
    assert (created.status, created.shown_status, created.unverified.version) == ("paused", "unverified", 1)
    (suspension,) = created.suspensions
    assert (suspension.kind, suspension.begin, suspension.dead_begin, suspension.end) == ("paused", {0: 4}, 2, None)
    plain = decide(CreateEndpoint(changed(id="ep_2")), directory()).value
    assert isinstance(plain, Endpoint) and (plain.status, plain.unverified) == ("active", None)


def test_an_agreement_resumes_it_with_what_was_parked() -> None:
    where = alive(ASK, handshake(4))
    endpoint = where.endpoint("ep_1")
    assert endpoint is not None
    assert (endpoint.status, endpoint.status_reason, endpoint.unverified) == ("active", None, None)
    replay = where.replays["rpl_9"]
    assert (replay.reason, replay.begin, replay.end, replay.dead_begin) == ("resume", {0: 5}, {0: 9}, 3)


def test_a_handshake_with_an_earlier_url_changes_nothing() -> None:
    moved = UpdateEndpoint("ep_1", {"url": "https://victim.example/"}, None, {0: 6}, 4)
    where = alive(ASK, moved, handshake(4))
    endpoint = where.endpoint("ep_1")
    assert endpoint is not None and endpoint.shown_status == "unverified"
    assert not where.replays
    assert len(endpoint.suspensions) == 1  # one pause, whose parked deliveries all follow
    assert after(ASK, moved, handshake(5)).status == "active"


def test_a_change_of_the_url_asks_again_and_other_changes_do_not() -> None:
    verified = after(ASK, handshake(4, origin="hooks.test"))
    assert verified.request_origin == "hooks.test"
    same = after(UpdateEndpoint("ep_1", {"description": "x"}), endpoint=verified)
    assert (same.status, same.request_origin) == ("active", "hooks.test")
    moved = after(UpdateEndpoint("ep_1", {"url": "https://b.example/"}), endpoint=verified)
    assert (moved.shown_status, moved.request_origin) == ("unverified", None)
    other_way = after(UpdateEndpoint("ep_1", {"verification": "cloudevents"}), endpoint=verified)
    assert other_way.shown_status == "unverified"


def test_nothing_else_makes_it_active() -> None:
    where = alive(ASK)
    assert refused(RESUME, where)[0] == "unverified"
    assert "unverified" in refused(UpdateEndpoint("ep_1", {"status": "active"}), where)[1]
    disabled = alive(ASK, DISABLE)
    assert refused(RESUME, disabled)[0] == "unverified"


def test_a_pause_and_a_disablement_outlast_the_agreement() -> None:
    assert after(ASK, PAUSE, handshake(4)).status == "paused"
    assert after(PAUSE, ASK, handshake(5)).status == "paused"
    disabled = after(ASK, DISABLE, handshake(4))
    assert (disabled.status, disabled.unverified) == ("disabled", None)
    assert after(RESUME, endpoint=disabled).status == "active"


def test_an_endpoint_that_need_not_be_verified_any_more_can_be_resumed() -> None:
    endpoint = after(ASK, UpdateEndpoint("ep_1", {"verification": "none"}))
    assert (endpoint.shown_status, endpoint.unverified) == ("paused", None)
    assert after(RESUME, endpoint=endpoint).status == "active"


def test_handshakes_without_an_agreement_are_counted_by_the_hour_and_keep_the_version() -> None:
    failed = after(ASK, *[handshake(4, agreed=False, error="e" * 5_000)] * 3)
    mark = failed.unverified
    assert mark is not None and failed.version == 4
    assert (mark.attempts, mark.last_result) == (3, "x")
    assert mark.last_error is not None and len(mark.last_error) <= 1024
    old = msgspec.structs.replace(mark, counted_from_ms=NOW - HOUR_MS)
    again = after(handshake(4, agreed=False), endpoint=changed(failed, unverified=old))
    assert again.unverified is not None and again.unverified.attempts == 1
    moved = after(UpdateEndpoint("ep_1", {"url": "https://b.example/"}), endpoint=failed)
    assert moved.unverified is not None and moved.unverified.attempts == 3  # another URL is no way around the limit


@pytest.mark.parametrize(
    ("own", "allowed", "expected"), [(None, 2.0, 2.0), (1.0, 2.0, 1.0), (5.0, 2.0, 2.0), (5.0, None, 5.0)]
)
def test_a_permitted_rate_only_lowers_the_limit(own: float | None, allowed: float | None, expected: float) -> None:
    endpoint = after(ASK, handshake(4, rate_limit=allowed), endpoint=changed(rate_limit=own))
    assert endpoint.rate_limit == expected


def test_a_tiny_rate_is_raised_to_the_smallest_limit() -> None:
    assert after(ASK, handshake(4, rate_limit=1e-9)).rate_limit == 0.001


def test_a_handshake_with_an_endpoint_that_is_gone_or_agreed_is_no_change() -> None:
    assert refused(handshake(4), Directory())[0] == "not_found"
    where = alive(ASK, handshake(4), handshake(4))
    endpoint = where.endpoint("ep_1")
    assert endpoint is not None and endpoint.version == 5
