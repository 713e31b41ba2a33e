"""A stream of the events of one pull endpoint, as server-sent events; the id of each is its cursor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec

from app.api.handlers.pulls import PullQuery, next_page, position_of, pulled_endpoint, query_of
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiServices
from app.api.server.streaming import frame_of
from app.core.errors import HookstreamError
from app.core.pull_cursor import LogPosition, cursor_text

#: seconds without an event after which a beat is sent
BEAT_S = 15.0
_encoder = msgspec.json.Encoder()


class PullStream:
    """The frames of one client."""

    def __init__(
        self, api: ApiServices, call: ApiRequest, position: LogPosition, query: PullQuery, allowed: Callable[[], bool]
    ) -> None:
        self._api = api
        self._call = call
        self._position = position
        self._query = query
        self._allowed = allowed

    @classmethod
    async def opened(cls, api: ApiServices, call: ApiRequest, allowed: Callable[[], bool]) -> PullStream:
        """A stream from the header Last-Event-ID, else the cursor, else the last commit. Raises `ApiError`."""
        query = msgspec.structs.replace(query_of(call), wait_s=BEAT_S)
        cursor = call.headers.get("last-event-id") or query.cursor
        position = await position_of(api, pulled_endpoint(api, call), cursor)
        return cls(api, call, position, query, allowed)

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The frames, until the endpoint is deleted or inactive, the key is revoked, or the process stops."""
        endpoint = pulled_endpoint(self._api, self._call)
        yield b"retry: 2000\n" + _named("ready", {"endpoint": endpoint.id}, cursor_text(endpoint.id, self._position))
        while not self._api.pull_waits.stopping:
            try:
                page, self._position = await next_page(self._api, self._call, self._position, self._query)
            except ApiError as error:
                yield _named("end", {"reason": error.code, "detail": error.detail})
                return
            except HookstreamError as error:
                yield _named("end", {"reason": "unavailable", "detail": str(error)})
                return
            if not self._allowed():
                yield _named("end", {"reason": "unauthenticated", "detail": "the key is revoked or expired"})
                return
            if page.truncated:
                yield _named("gap", {"detail": "the log no longer has the events before the next one"})
            for event in page.data:
                yield frame_of("event", _encoder.encode(event), event.cursor)
            if not page.data:
                yield b"id: %b\n: beat\n\n" % page.cursor.encode()
        yield _named("end", {"reason": "stopping", "detail": "this process stops: connect again"})

    def close(self) -> None:
        """The client has left: nothing is left to do."""


def _named(event: str, value: Any, id_: str | None = None) -> bytes:
    return frame_of(event, _encoder.encode(value), id_)
