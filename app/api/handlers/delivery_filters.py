"""Filters for deliveries, from query parameters and bodies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast, get_args

import msgspec

from app.api.contract.deliveries import DeliverySelection
from app.api.contract.fields import FieldError
from app.api.problems import ApiError, invalid
from app.api.request import ApiRequest, ApiServices
from app.core.model import timestamps
from app.core.model.event_types import is_pattern
from app.core.readmodel.rows import DeliveryFilter, DeliveryRow, DeliveryState

#: what a list can be narrowed by
QUERY = ("endpoint", "event", "type", "state", "status", "result", "since", "until", "replay", "id")
_STATES: tuple[str, ...] = get_args(DeliveryState)
_STATUS = re.compile(r"([1-5])(xx|[0-9]{2})")
_LONGEST = 256
#: rows of one query
_PAGE = 100
#: a dry run counts up to here
_COUNTED = 100_000


class BadFilter(ValueError):
    """A field of a filter is invalid."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = f"{field}: {detail}"


def of_query(api: ApiServices, call: ApiRequest, *, endpoint_id: str | None = None) -> DeliveryFilter:
    """The filter of a GET request. Raises `ApiError` 400."""
    query = call.query
    try:
        for name in QUERY:
            _check(name, query.get(name))
        now_ms = api.clock.now_ms()
        return DeliveryFilter(
            tenant=call.caller.tenant,
            mode=call.caller.mode,
            endpoint_id=endpoint_id or endpoint_id_of(api, call, query.get("endpoint")),
            event_id=query.get("event"),
            event_type=type_pattern(query.get("type")),
            states=_states(query.get("state")),
            status=_status(query.get("status")),
            result=query.get("result"),
            replay_id=query.get("replay"),
            any_id=query.get("id"),
            since_ms=moment("since", query.get("since"), now_ms),
            until_ms=moment("until", query.get("until"), now_ms),
        )
    except BadFilter as error:
        raise ApiError(400, "invalid_query", error.detail) from error


def of_body(
    api: ApiServices, call: ApiRequest, body: DeliverySelection, states: Sequence[DeliveryState]
) -> DeliveryFilter:
    """The filter of a request about many deliveries. Raises `ApiError` 422."""
    try:
        for name in ("endpoint", "event", "result", "replay"):
            _check(name, getattr(body, name))
        now_ms = api.clock.now_ms()
        return DeliveryFilter(
            tenant=call.caller.tenant,
            mode=call.caller.mode,
            endpoint_id=endpoint_id_of(api, call, body.endpoint),
            event_id=body.event,
            event_type=type_pattern(body.type),
            states=tuple(dict.fromkeys(states)),
            status=_status(body.status),
            result=body.result,
            replay_id=body.replay,
            since_ms=moment("since", body.since, now_ms),
            until_ms=moment("until", body.until, now_ms),
        )
    except BadFilter as error:
        raise invalid(FieldError(detail=error.detail, pointer=f"/{error.field}")) from error


def endpoint_id_of(api: ApiServices, call: ApiRequest, name: str | None) -> str | None:
    """The id of the caller's endpoint with that id or uid. Other names stay: a removed endpoint still has rows."""
    if name is None:
        return None
    endpoint = api.feed.directory.endpoint_named(call.caller.tenant, call.caller.mode, name)
    return name if endpoint is None else endpoint.id


def given(which: DeliveryFilter) -> dict[str, Any]:
    """The fields of a filter that narrow it, for the audit log."""
    fields: dict[str, Any] = msgspec.to_builtins(which)
    return {name: value for name, value in fields.items() if value not in (None, [], ())}


async def counted(api: ApiServices, which: DeliveryFilter) -> tuple[int, bool]:
    """For a dry run: the number of deliveries of a filter, and whether there may be more than were counted."""
    number = await api.reads.count(which, at_most=_COUNTED)
    return number, number >= _COUNTED


async def newest(
    api: ApiServices, which: DeliveryFilter, *, limit: int, cursor: str | None
) -> tuple[list[DeliveryRow], str | None]:
    """The newest deliveries of a filter, and the cursor of the next ones. Raises `ApiError` 422 for a bad cursor."""
    rows: list[DeliveryRow] = []
    while len(rows) < limit:
        try:
            page = await api.reads.deliveries(which, limit=min(_PAGE, limit - len(rows)), cursor=cursor)
        except ValueError as error:
            detail = "cursor: use the value of next_cursor unchanged"
            raise invalid(FieldError(detail=detail, pointer="/cursor")) from error
        rows += page.rows
        cursor = page.cursor
        if cursor is None:
            break
    return rows, cursor


def span(api: ApiServices, call: ApiRequest, *, default_ms: int, longest_ms: int) -> tuple[int, int]:
    """`since` and `until` of a query, in milliseconds since the epoch. Raises `ApiError` 400."""
    now_ms = api.clock.now_ms()
    try:
        until = moment("until", call.query.get("until", "now"), now_ms) or 0
        since = moment("since", call.query.get("since"), now_ms)
        since = max(0, until - default_ms) if since is None else since
        if since > until:
            raise BadFilter("since", "it is after until")
        if until - since > longest_ms:
            raise BadFilter("since", f"at most {longest_ms // 86_400_000} days before until")
    except BadFilter as error:
        raise ApiError(400, "invalid_query", error.detail) from error
    return since, until


def is_name(text: str) -> bool:
    """Whether a text has the form of an id or a word, so that a row may match."""
    return 1 <= len(text) <= _LONGEST and text.isprintable()


def _check(field: str, text: str | None) -> None:
    if text is not None and not is_name(text):
        raise BadFilter(field, f"1 to {_LONGEST} printable characters")


def type_pattern(text: str | None) -> str | None:
    """A type or pattern of a query; None: any. Raises `BadFilter`."""
    if text is not None and not is_pattern(text):
        raise BadFilter("type", f"{text!r} is neither an event type, nor `*`, nor a prefix such as `recording.*`")
    return None if text == "*" else text


def _states(text: str | None) -> tuple[DeliveryState, ...]:
    words = [word.strip() for word in text.split(",")] if text is not None else []
    if any(word not in _STATES for word in words):
        raise BadFilter("state", f"one or several (comma-separated) of {', '.join(_STATES)}")
    return tuple(cast(Sequence[DeliveryState], dict.fromkeys(words)))


def _status(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _STATUS.fullmatch(text)
    if match is None:
        raise BadFilter("status", "an HTTP status such as 503, or its class: 5xx")
    first = int(match[1]) * 100
    return (first, first + 99) if match[2] == "xx" else (int(text), int(text))


def moment(field: str, text: str | None, now_ms: int) -> int | None:
    """A point in time in milliseconds since the epoch. Raises `BadFilter`."""
    if text is None:
        return None
    try:
        return timestamps.moment(text, now_ms)
    except (ValueError, OverflowError) as error:
        raise BadFilter(field, str(error)) from error
