"""The stream of events over several connections: where it continues, and when it gives up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from app.adapters.http.event_stream import SseMessage
from app.cli.connect.event_feed import MAX_TRIES, follow_events
from app.core.errors import CommandRefused, Unavailable

READY = SseMessage("5", "ready", b"{}")


class ScriptedApi:
    """Each connection yields its messages, or raises."""

    def __init__(self, *connections: list[SseMessage] | Exception) -> None:
        self.connections = list(connections)
        self.asked: list[tuple[Any, str]] = []

    @asynccontextmanager
    async def stream(
        self, *path: str, query: Mapping[str, str] | None = None, last_id: str = ""
    ) -> AsyncIterator[AsyncIterator[SseMessage]]:
        self.asked.append((query, last_id))
        connection = self.connections.pop(0) if self.connections else Unavailable("refused")
        if isinstance(connection, Exception):
            raise connection

        async def messages() -> AsyncIterator[SseMessage]:
            for each in connection:
                yield each

        yield messages()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("app.cli.connect.event_feed.asyncio.sleep", sleep)
    return waits


async def collect(api: ScriptedApi, lost: list[str]) -> tuple[list[str], Exception]:
    """The ids that arrive, and what ends the feed."""
    ids: list[str] = []
    try:
        async for message in follow_events(cast(Any, api), "a.*", lambda reason, _: lost.append(reason)):
            ids.append(message.id)
    except (Unavailable, CommandRefused) as error:
        return ids, error
    raise AssertionError("it does not end by itself")


async def test_a_lost_connection_continues_behind_the_last_message_even_one_without_an_event() -> None:
    event, beat, end = SseMessage("6", "event", b"1"), SseMessage("7", "", b""), SseMessage("7", "end", b"{}")
    busy = CommandRefused("too_many_streams", "too many")
    api = ScriptedApi([READY, event, beat], busy, [READY, end], CommandRefused("unauthorized", "revoked"))
    lost: list[str] = []
    ids, error = await collect(api, lost)
    assert ids == ["5", "6", "5"] and str(error) == "revoked"
    assert [each for _, each in api.asked] == ["", "7", "7", "7"]
    assert api.asked[0][0] == {"types": "a.*"} and lost[1] == "too many"


async def test_it_gives_up_after_a_bounded_number_of_tries(no_waiting: list[float]) -> None:
    ids, error = await collect(ScriptedApi([READY]), [])
    assert ids == ["5"] and str(error) == "refused"
    assert len(no_waiting) == MAX_TRIES and max(no_waiting) <= 30 and 300 < sum(no_waiting) < 1000


async def test_the_first_connection_is_not_tried_again(no_waiting: list[float]) -> None:
    assert str((await collect(ScriptedApi(), []))[1]) == "refused" and not no_waiting
