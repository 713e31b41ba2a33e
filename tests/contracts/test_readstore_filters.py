"""The read store, for both databases: filters and pages of deliveries."""

from __future__ import annotations

import msgspec
import pytest

from app.core.readmodel.rows import DeliveryFilter
from tests.contracts.readmodel_kit import ACME, BEGUN_MS, Journal, Stores, delivery, ids_of, mixed


async def test_pages_are_newest_first_and_complete(stores: Stores) -> None:
    write, read = stores
    journal = Journal()
    many = [delivery(number, accepted_at_ms=BEGUN_MS + number // 3) for number in range(50)]
    for each in many:
        journal.attempted(each, BEGUN_MS + 1000)
    await journal.into(write)
    expected = [each.id for each in sorted(many, key=lambda each: (each.accepted_at_ms, each.id), reverse=True)]
    for limit in (1, 7, 50, 51):
        assert await ids_of(read, ACME, limit) == expected
    page = await read.deliveries(ACME, limit=50)
    assert page.cursor is None
    with pytest.raises(ValueError, match="cursor"):
        await read.deliveries(ACME, limit=5, cursor="bm9uc2Vuc2U")


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint_id": "ep_1"},
        {"states": ("dead",)},
        {"states": ("pending", "retrying")},
        {"states": ("dead", "delivered"), "endpoint_id": "ep_2"},
        {"event_type": "bot.done"},
        {"event_type": "recording.*"},
        {"event_type": "*"},
        {"event_type": "recording.*", "states": ("dead", "retrying")},
        {"status": (500, 599)},
        {"status": (503, 503)},
        {"status": (200, 200)},
        {"status": (400, 599)},
        {"result": "timeout"},
        {"result": "ok"},
        {"result": "timeout", "endpoint_id": "ep_3"},
        {"result": "http_5xx", "reason": "exhausted"},
        {"endpoint_id": "ep_2", "states": ("dead",), "changed_since_ms": BEGUN_MS + 2020},
        {"replay_id": "rpl_1"},
        {"event_id": "evt_7"},
        {"any_id": "evt_7"},
        {"any_id": "evt_7", "states": ("dead",)},
        {"since_ms": BEGUN_MS + 10, "until_ms": BEGUN_MS + 20},
        {"since_ms": BEGUN_MS + 10, "until_ms": BEGUN_MS + 30, "states": ("dead",)},
    ],
    ids=str,
)
async def test_a_filter_selects_exactly_its_rows(stores: Stores, fields: dict[str, object]) -> None:
    write, read = stores
    await mixed().into(write)
    every = (await read.deliveries(ACME, limit=100)).rows
    assert len(every) == 40
    which = msgspec.structs.replace(ACME, **fields)
    expected = [row.id for row in every if _fits(row, which)]
    assert expected and (len(expected) < 40 or fields == {"event_type": "*"})
    assert await ids_of(read, which) == expected
    assert await ids_of(read, which, limit=3) == expected
    assert await read.count(which, at_most=100) == len(expected)
    assert await read.count(which, at_most=1) == 1


def _fits(row: object, which: DeliveryFilter) -> bool:
    """The same filter, in other words."""
    fields = msgspec.structs.asdict(row)  # type: ignore[arg-type]
    for name in ("endpoint_id", "event_id", "result", "reason", "replay_id"):
        if getattr(which, name) is not None and getattr(which, name) != fields[name]:
            return False
    pattern = which.event_type
    if pattern and not (
        fields["event_type"] == pattern or (pattern[-1] == "*" and fields["event_type"].startswith(pattern[:-1]))
    ):
        return False
    if which.states and fields["state"] not in which.states:
        return False
    if which.status and not (fields["status"] is not None and which.status[0] <= fields["status"] <= which.status[1]):
        return False
    if which.any_id and which.any_id not in (fields["id"], fields["event_id"]):
        return False
    if fields["updated_at_ms"] < (which.changed_since_ms or 0):
        return False
    return bool((which.since_ms or 0) <= fields["created_at_ms"] < (which.until_ms or 2**53))


async def test_any_id_finds_a_delivery(stores: Stores) -> None:
    write, read = stores
    await mixed().into(write)
    which = msgspec.structs.replace(ACME, any_id=delivery(7, endpoint_id="ep_3").id)
    assert len(await ids_of(read, which)) == 1 and await read.count(which, at_most=5) == 1
