"""Which copy of a delivery counts, after a retry or a cancellation on request."""

from __future__ import annotations

import msgspec
import pytest

from app.core import supersession
from app.core.errors import CommandRefused
from app.core.model.delivery import Delivery, DeliveryRevision
from app.core.records import delivery

WAITING = Delivery(
    id="dlv_1",
    endpoint_id="ep",
    event_id="e",
    event_type="a.b",
    tenant="acme",
    mode="live",
    created_at="2026-01-01T00:00:00Z",
    body=b"{}",
    attempts=2,
)


def asked(what: str, revision: int, attempts: int = 2) -> Delivery:
    return msgspec.structs.replace(WAITING, manual=what, revision=revision, attempts=attempts)


def of(source: str | None, accepted_at_ms: int) -> Delivery:
    """Of an event that may be a later one with the same id."""
    return msgspec.structs.replace(WAITING, source=source, accepted_at_ms=accepted_at_ms)


@pytest.mark.parametrize(
    ("copy", "newest", "fate"),
    [
        (WAITING, None, "go"),
        (WAITING, DeliveryRevision(id="dlv_1", number=5), "pass"),
        (WAITING, DeliveryRevision(id="dlv_1", number=5, cancel=True), "cancel"),
        (asked("retry", 5), None, "go"),
        (asked("retry", 5), DeliveryRevision(id="dlv_1", number=5), "go"),
        (asked("retry", 5), DeliveryRevision(id="dlv_1", number=6), "pass"),
        (asked("cancel", 6), DeliveryRevision(id="dlv_1", number=6), "cancel"),
        (asked("cancel", 6), DeliveryRevision(id="dlv_1", number=7), "pass"),
        (asked("retry", 8), DeliveryRevision(id="dlv_1", number=7, cancel=True), "go"),
        (of("0:9", 3), DeliveryRevision(id="dlv_1", number=5, source="0:2"), "go"),
        (of("0:9", 3), DeliveryRevision(id="dlv_1", number=5, source="0:2", cancel=True), "go"),
        (of("0:2", 8), DeliveryRevision(id="dlv_1", number=5, source="0:2"), "pass"),
        (of("0:9", 3), DeliveryRevision(id="dlv_1", number=5), "pass"),
        (of("0:9", 8), DeliveryRevision(id="dlv_1", number=5), "go"),
        (of(None, 8), DeliveryRevision(id="dlv_1", number=5, source="0:2", cancel=True), "go"),
    ],
)
def test_only_the_copy_with_the_newest_revision_is_valid(
    copy: Delivery, newest: DeliveryRevision | None, fate: str
) -> None:
    assert supersession.disposition(copy, newest) == fate


def test_a_copy_that_waited_for_a_request_continues_only_if_something_remains() -> None:
    assert supersession.after(asked("retry", 5), 3, "delivered") is None
    assert supersession.after(asked("cancel", 5), 3, "delivered") is None
    assert supersession.after(asked("cancel", 5), 3, "dead") is None
    for what, ended in (("retry", "dead"), ("retry", None), ("cancel", None)):
        left = supersession.after(asked(what, 5), 3, ended)  # type: ignore[arg-type]
        assert left is not None and left.attempts == 3, "the request that was under way counts"
    known = supersession.after(asked("retry", 5, attempts=9), 3, None)
    assert known is not None and known.attempts == 9


def test_revisions_expire_after_the_longest_wait_and_are_bounded() -> None:
    now = 2 * supersession.RETENTION_MS
    known = {
        each.id: each
        for each in (
            DeliveryRevision(id="a", number=1),
            DeliveryRevision(id="b", number=now - 1),
            DeliveryRevision(id="c", number=now),
        )
    }
    fresh, gone = supersession.take(
        [DeliveryRevision(id="b", number=now), DeliveryRevision(id="c", number=now - 5)], known, now
    )
    assert [each.id for each in fresh] == ["b"], "one that is older than what is known changes nothing"
    assert gone == ["a"]
    assert supersession.take([DeliveryRevision(id="a", number=now)], known, now) == (
        [DeliveryRevision(id="a", number=now)],
        [],
    )
    full = {f"d{number}": DeliveryRevision(id=f"d{number}", number=now) for number in range(supersession.MAX_REVISIONS)}
    with pytest.raises(CommandRefused):
        supersession.take([DeliveryRevision(id="x", number=now)], full, now)
    with pytest.raises(CommandRefused):
        supersession.take(
            [DeliveryRevision(id=f"x{number}", number=now) for number in range(supersession.MAX_AT_ONCE + 1)], {}, now
        )


def test_no_copy_outlives_its_revision() -> None:
    longest = [("due-at", b"%d" % (supersession.RETENTION_MS - 1))]
    assert delivery.due_at_ms(longest, 0) == 0, "such a record is due at once"


def test_revision_and_manual_action_survive_the_record() -> None:
    for copy in (WAITING, asked("retry", 1_700_000_000_000), asked("cancel", 1)):
        read, _ = delivery.decode(b"ep", b"{}", delivery.encode(copy))
        assert read == copy
