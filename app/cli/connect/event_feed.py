"""Follow the events of a tenant through the API, over any number of connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING

from app.core.errors import CommandRefused, Unavailable

if TYPE_CHECKING:
    from app.adapters.http.api_client import ApiClient
    from app.adapters.http.event_stream import SseMessage

#: connections in a row that may fail before the command gives up; together they wait for about a quarter of an hour
MAX_TRIES = 32
_LONGEST_WAIT_S = 30.0
#: refusals that pass by themselves once the streams of a former connection have ended
_TEMPORARY = ("too_many_streams", "too_many_requests", "busy")


async def follow_events(
    api: ApiClient, types: str | None, on_lost: Callable[[str, float], None]
) -> AsyncGenerator[SseMessage, None]:
    """The messages of the stream of events; a lost connection is renewed where it ended.

    `on_lost` is called with the reason and the seconds until the next try. Raises `Unavailable` when the first
    connection fails, or `MAX_TRIES` in a row, and `CommandRefused`.
    """
    query = {"types": types} if types is not None else None
    last_id, failures, was_ready = "", 0, False
    while True:
        try:
            async with api.stream("events", "stream", query=query, last_id=last_id) as messages:
                async for message in messages:
                    last_id = message.id or last_id
                    if message.event == "ready":
                        failures, was_ready = 0, True
                    if message.event and message.event != "end":
                        yield message
            lost: Exception = Unavailable("the API has ended the stream")
        except Unavailable as error:
            lost = error
        except CommandRefused as error:
            if error.code not in _TEMPORARY:
                raise
            lost = error
        failures += 1
        if not was_ready or failures > MAX_TRIES:
            raise lost
        wait_s = min(_LONGEST_WAIT_S, 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)
        on_lost(str(lost), wait_s)
        await asyncio.sleep(wait_s)
