"""Fan-out hands the times of an event on to its deliveries, wherever these go, and rejects bad ones."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.directory import Directory
from app.core.records import delivery as delivery_record
from tests.roles.fanout.test_plan_filters import endpoint, event, plan

#: records of these tests have a timestamp near 0
LATER, END = "1970-01-02T00:00:00Z", "1970-01-03T00:00:00Z"
DAY_MS = 86_400_000


@pytest.mark.parametrize("fields", [{}, {"ordering": "fifo"}, {"status": "paused"}])
def test_every_delivery_carries_the_times_of_its_event(fields: dict[str, Any]) -> None:
    where = Directory()
    where.put_endpoint(endpoint("ep", **fields))
    first = event(0, 1, ordering_key="k", deliver_at=LATER, expires_at=END)
    planned = plan(where, first, event(1, 1, ordering_key="k"))
    timed, plain = (delivery_record.decode(each.key, each.value, each.headers)[0] for each in planned.appends)
    assert (timed.deliver_at_ms, timed.expires_at_ms) == (DAY_MS, 2 * DAY_MS)
    assert (plain.deliver_at_ms, plain.expires_at_ms) == (None, None)
    assert (timed.sequence, plain.sequence) == (1, 2), "a place in the order is taken when the event is accepted"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"deliver_at": "1970-02-01T00:00:00Z"}, "bad_deliver_at"),
        ({"deliver_at": "later"}, "bad_deliver_at"),
        ({"deliver_at": END, "expires_at": LATER}, "bad_expires_at"),
        ({"deliver_at": 5}, "not_an_event"),
    ],
)
def test_an_event_with_bad_times_is_rejected_with_the_reason(fields: dict[str, Any], reason: str) -> None:
    where = Directory()
    where.put_endpoint(endpoint("ep"))
    planned = plan(where, event(0, 1, **fields))
    assert (planned.rejections, planned.accepted) == ([reason], 0)
    (rejected,) = planned.appends
    assert dict(rejected.headers)["rejected-reason"] == reason.encode()
