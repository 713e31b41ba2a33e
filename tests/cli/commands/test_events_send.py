"""The rows that `events send` prints for events appended over Kafka."""

from __future__ import annotations

from app.cli.commands.events_send import appended
from app.core.model import ids


def test_the_producers_id_is_printed() -> None:
    row = appended(b'{"type": "a.b", "id": "order-1", "tenant": "acme", "data": {}}', "events.raw", 2, 7)
    assert (row["id"], row["tenant"], row["partition"], row["offset"]) == ("order-1", "acme", 2, 7)


def test_an_event_without_id_has_the_one_that_fanout_derives() -> None:
    assert appended(b'{"type": "a.b", "tenant": "acme", "data": {}}', "events.raw", 2, 7)["id"] == ids.event_id(
        "events.raw", 2, 7
    )
