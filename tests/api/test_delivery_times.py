"""`deliver_at` and `expires_at` over the API: of an event, in its story, and in retries on request."""

from __future__ import annotations

import pytest

from app.api.problems import ApiError
from app.core.model.timestamps import iso
from tests.api.read_stage import Stage


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_deliveries_for_later_and_expired_ones_are_retried_one_by_one_only(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    later = stage.row(stage.event("e1", deliver_at=iso(now_ms + 60_000)), state="pending", attempts=0, reason=None)
    gone = stage.row(stage.event("e2", expires_at=iso(now_ms)), reason="expired")
    still = stage.row(stage.event("e3", deliver_at=iso(now_ms), expires_at=iso(now_ms + 60_000)))
    answer = await stage.ask("retries.retry_many", {"state": ["pending", "dead"]})
    assert (answer["retried"], answer["skipped"]) == (1, {"scheduled": 1, "expired": 1})
    assert [each.id for each in stage.appended()] == [still.id]
    for row in (later, gone):
        await stage.ask("retries.retry", of=row.id)
    copies = {each.id: each for each in stage.appended()}
    assert {copies[later.id].manual, copies[gone.id].manual} == {"retry"}
    assert copies[later.id].deliver_at_ms == now_ms + 60_000, "its further attempts keep to it"
    assert copies[gone.id].expires_at_ms == now_ms


async def test_an_event_is_accepted_only_with_times_at_which_it_can_be_delivered(stage: Stage) -> None:
    for fields, pointer in (
        ({"deliver_at": iso(stage.clock.now_ms() + 8 * 86_400_000)}, "/0/deliver_at"),
        ({"deliver_at": "tomorrow"}, "/0/deliver_at"),
        ({"deliver_at": iso(stage.clock.now_ms()), "expires_at": iso(stage.clock.now_ms())}, "/0/expires_at"),
        ({"expires_at": "0000-01-01T00:00:00Z"}, "/0/expires_at"),
    ):
        with pytest.raises(ApiError) as caught:
            await stage.ask("events.create", [{"type": "a.b", "data": 1, "idempotency_key": "k"} | fields])
        assert (caught.value.status, [each.pointer for each in caught.value.errors]) == (422, [pointer])


async def test_an_event_shows_its_times(stage: Stage) -> None:
    now_ms = stage.clock.now_ms()
    stage.row(stage.event("e1", deliver_at=iso(now_ms), expires_at="2100-01-01T01:00:00+01:00"))
    found = await stage.ask("events.get", of="e1")
    assert (found["deliver_at"], found["expires_at"]) == (iso(now_ms), "2100-01-01T00:00:00.000Z")


async def test_a_delivery_without_an_order_is_cancelled_at_once_also_if_its_event_has_an_ordering_key(
    stage: Stage,
) -> None:
    row = stage.row(stage.event(), state="pending", attempts=0, ordering_key="k", reason=None)
    await stage.ask("retries.cancel", of=row.id)
    assert [each.manual for each in stage.appended()] == ["cancel"], "its copy may wait in the ladder for days"
