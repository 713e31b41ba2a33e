"""Which records of deliveries.dead are parked, and what remains of them when they are released."""

from __future__ import annotations

from app.core.records.dead_letter import is_parked, released
from tests.fakes.log import MemoryRecord


def record(offset: int, timestamp: int = 0, partition: int = 0, value: bytes = b"v", **headers: int) -> MemoryRecord:
    named = [(name.replace("_", "-"), b"%d" % number) for name, number in headers.items()]
    return MemoryRecord("topic", partition, offset, timestamp, b"ep", value, named)


def test_a_parked_delivery_has_the_endpoints_key_and_the_reason_paused() -> None:
    parked = record(0)._replace(headers=[("reason", b"paused")])
    assert is_parked(parked, b"ep") and not is_parked(parked, b"ep2")
    assert not is_parked(parked._replace(headers=[("reason", b"exhausted")]), b"ep")


def test_a_released_delivery_loses_only_the_headers_of_its_parking() -> None:
    stays = [("delivery-id", b"d"), ("attempts", b"3"), ("sequence", b"7"), ("replay-id", b"r"), ("traceparent", b"t")]
    ended = ["reason", "last-result", "last-status", "last-error", "died-at", "due-at", "registry-position"]
    assert released([*stays, *((name, b"x") for name in ended)], 12) == [*stays, ("registry-position", b"12")]
