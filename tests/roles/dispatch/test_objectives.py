"""Which deliveries count for the service level objectives."""

from __future__ import annotations

import msgspec
import pytest

from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, OpenCircuit, Suspension
from app.roles.dispatch.objectives import is_healthy, is_prompt

DELIVERY = Delivery(
    id="dlv_1",
    endpoint_id="ep_1",
    event_id="evt_1",
    event_type="a.b",
    tenant="acme",
    mode="live",
    created_at="",
    body=b"{}",
    accepted_at_ms=1000,
)
ENDPOINT = Endpoint(
    id="ep_1", tenant="acme", mode="live", url="https://a.example", events=("*",), profile="standard", updated_at_ms=5
)
PAUSE = Suspension(kind="paused", since_ms=10, begin={0: 1}, end={0: 2})


def test_an_undelayed_delivery_is_measured() -> None:
    assert is_prompt(DELIVERY, ENDPOINT)


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts": 1},
        {"due_at_ms": 2000},
        {"replay_id": "rpl_1"},
        {"manual": "retry"},
        {"arrival": 3, "ordering_key": "k"},
        {"accepted_at_ms": 0},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_deliberately_waiting_delivery_is_not_measured(fields: dict[str, object]) -> None:
    assert not is_prompt(msgspec.structs.replace(DELIVERY, **fields), ENDPOINT)


def test_a_parked_delivery_is_not_measured() -> None:
    resumed = msgspec.structs.replace(ENDPOINT, suspensions=(PAUSE,), updated_at_ms=3000)
    assert not is_prompt(DELIVERY, resumed)
    assert is_prompt(msgspec.structs.replace(DELIVERY, accepted_at_ms=3001), resumed)


def test_an_endpoint_is_healthy_until_it_is_shown_as_failing_or_silent() -> None:
    assert is_healthy(ENDPOINT)
    assert not is_healthy(msgspec.structs.replace(ENDPOINT, failing_since_ms=1))
    assert not is_healthy(msgspec.structs.replace(ENDPOINT, circuit=OpenCircuit(since_ms=1, probe_at_ms=2)))
