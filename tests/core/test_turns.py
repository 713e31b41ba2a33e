"""Which copy of a delivery counts, after a retry or a cancellation on request."""

from __future__ import annotations

import msgspec
import pytest

from app.core import delivery_record, turns
from app.core.errors import CommandRefused
from app.core.model import Delivery, Turn

WAITING = Delivery(
    id="dlv_1", endpoint_id="ep", event_id="e", event_type="a.b", tenant="acme", mode="live",
    created_at="2026-01-01T00:00:00Z", body=b"{}", attempts=2,
)  # fmt: skip


def asked(what: str, turn: int, attempts: int = 2) -> Delivery:
    return msgspec.structs.replace(WAITING, asked=what, turn=turn, attempts=attempts)  # type: ignore[arg-type]


def of(source: str | None, accepted_at_ms: int) -> Delivery:
    """Of an event that may be a later one with the same id."""
    return msgspec.structs.replace(WAITING, source=source, accepted_at_ms=accepted_at_ms)


@pytest.mark.parametrize(
    ("copy", "newest", "fate"),
    [
        (WAITING, None, "go"),
        (WAITING, Turn(id="dlv_1", number=5), "pass"),
        (WAITING, Turn(id="dlv_1", number=5, cancel=True), "cancel"),
        (asked("retry", 5), None, "go"),
        (asked("retry", 5), Turn(id="dlv_1", number=5), "go"),
        (asked("retry", 5), Turn(id="dlv_1", number=6), "pass"),
        (asked("cancel", 6), Turn(id="dlv_1", number=6), "cancel"),
        (asked("cancel", 6), Turn(id="dlv_1", number=7), "pass"),
        (asked("retry", 8), Turn(id="dlv_1", number=7, cancel=True), "go"),
        (of("0:9", 3), Turn(id="dlv_1", number=5, source="0:2"), "go"),
        (of("0:9", 3), Turn(id="dlv_1", number=5, source="0:2", cancel=True), "go"),
        (of("0:2", 8), Turn(id="dlv_1", number=5, source="0:2"), "pass"),
        (of("0:9", 3), Turn(id="dlv_1", number=5), "pass"),
        (of("0:9", 8), Turn(id="dlv_1", number=5), "go"),
        (of(None, 8), Turn(id="dlv_1", number=5, source="0:2", cancel=True), "go"),
    ],
)  # fmt: skip
def test_the_copy_of_the_newest_turn_counts(copy: Delivery, newest: Turn | None, fate: str) -> None:
    assert turns.fate(copy, newest) == fate


def test_a_copy_that_waited_for_a_request_goes_on_only_where_something_is_left_to_do() -> None:
    assert turns.after(asked("retry", 5), 3, "delivered") is None
    assert turns.after(asked("cancel", 5), 3, "delivered") is None
    assert turns.after(asked("cancel", 5), 3, "dead") is None
    for what, ended in (("retry", "dead"), ("retry", None), ("cancel", None)):
        left = turns.after(asked(what, 5), 3, ended)  # type: ignore[arg-type]
        assert left is not None and left.attempts == 3, "the request that was under way counts"
    known = turns.after(asked("retry", 5, attempts=9), 3, None)
    assert known is not None and known.attempts == 9


def test_turns_are_forgotten_after_the_longest_wait_and_are_bounded() -> None:
    now = 2 * turns.KEPT_MS
    known = {each.id: each for each in (Turn(id="a", number=1), Turn(id="b", number=now - 1), Turn(id="c", number=now))}
    fresh, gone = turns.take([Turn(id="b", number=now), Turn(id="c", number=now - 5)], known, now)
    assert [each.id for each in fresh] == ["b"], "one that is older than what is known changes nothing"
    assert gone == ["a"]
    assert turns.take([Turn(id="a", number=now)], known, now) == ([Turn(id="a", number=now)], [])
    full = {f"d{number}": Turn(id=f"d{number}", number=now) for number in range(turns.MAX_TURNS)}
    with pytest.raises(CommandRefused):
        turns.take([Turn(id="x", number=now)], full, now)
    with pytest.raises(CommandRefused):
        turns.take([Turn(id=f"x{number}", number=now) for number in range(turns.MAX_TAKEN + 1)], {}, now)


def test_no_copy_waits_longer_than_its_turn_is_remembered() -> None:
    longest = [("due-at", b"%d" % (turns.KEPT_MS - 1))]
    assert delivery_record.due_at_ms(longest, 0) == 0, "such a record is due at once"


def test_turn_and_request_survive_the_record() -> None:
    for copy in (WAITING, asked("retry", 1_700_000_000_000), asked("cancel", 1)):
        read, _ = delivery_record.decode(b"ep", b"{}", delivery_record.encode(copy))
        assert read == copy
