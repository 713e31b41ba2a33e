"""Pull endpoints: the next events of their log, and how far their receivers have committed.

Rules of this file
- A position is one of the endpoint's partition of deliveries.pull, which it shares with other endpoints. A request
  examines a bounded number of records, and answers with the position that it has reached, with or without events.
- If the endpoint's partition has changed, because partitions were added to deliveries.pull, the receiver first reads
  its former partition to the end.
- A record whose body cannot be built any more, because settings have changed, is an event with an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from app.api.contract.pulls import PullCommitIn, PulledError, PulledEvent, PulledPage, PullPosition
from app.api.handlers.webhooks import owned
from app.api.problems import ApiError
from app.api.request import ApiRequest, ApiResponse, ApiServices
from app.core.errors import ConfigError, Defect, MalformedEvent, TransformFailed, Unrepresentable
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint
from app.core.model.timestamps import iso
from app.core.pull_cursor import BadCursor, LogPosition, cursor_text, read_cursor
from app.core.records import delivery as delivery_record
from app.core.records.attempt import ERASED, EXPIRED
from app.core.topics.names import TopicName
from app.ports.consumer import Record

MAX_WAIT_S = 60
#: bytes of events that one page is made of, and of the bodies that are made of them; the last one may exceed it
MAX_PAGE_BYTES, MAX_BODY_BYTES = 1024 * 1024, 4 * 1024 * 1024
#: seconds after which no further body is built for a page
BUILD_S = 0.2
#: before an endpoint's creation its log is not read: by that much the clocks of brokers and registry may differ
_SKEW_MS = 3_600_000


class PullQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What a request wants."""

    #: None: where the receiver has committed
    cursor: str | None
    limit: int
    wait_s: float
    #: the body is text
    as_text: bool


async def events(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """The next events, at once or as soon as there are any."""
    query = query_of(call)
    endpoint = pulled_endpoint(api, call)
    with api.pull_waits.place(call.caller.tenant, call.caller.payer):
        position = await position_of(api, endpoint, query.cursor)
        page, _ = await next_page(api, call, position, query)
    return ApiResponse(body=page)


async def commit(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """Commit that everything before a cursor is done; also to an earlier one, which rewinds."""
    body: PullCommitIn = call.body
    endpoint = pulled_endpoint(api, call)
    position = await position_of(api, endpoint, body.cursor)
    if position.offset > await api.pulls.end(position.partition):
        raise ApiError(400, "invalid_cursor", "cursor: it is behind the end of the log")
    await api.pulls.commit(endpoint.id, position.partition, position.offset)
    return ApiResponse(body=await commit_position(api, endpoint))


async def committed(api: ApiServices, call: ApiRequest) -> ApiResponse:
    """How far the receiver has committed."""
    return ApiResponse(body=await commit_position(api, pulled_endpoint(api, call)))


def query_of(call: ApiRequest) -> PullQuery:
    """The query of a request. Raises `ApiError` 400."""
    wait = call.query.get("wait", "0")
    if not (wait.isascii() and wait.isdigit() and len(wait) < 4 and int(wait) <= MAX_WAIT_S):
        raise ApiError(400, "invalid_query", f"wait: 0 to {MAX_WAIT_S} seconds")
    form = call.query.get("format", "json")
    if form not in ("json", "text"):
        raise ApiError(400, "invalid_query", "format: json or text")
    return PullQuery(cursor=call.query.get("cursor"), limit=call.limit(), wait_s=int(wait), as_text=form == "text")


def pulled_endpoint(api: ApiServices, call: ApiRequest) -> Endpoint:
    """The caller's pull endpoint. Raises `ApiError` 404, and 409 where it is none or is not active."""
    endpoint = owned(api, call)
    if endpoint.kind != "pull":
        raise ApiError(409, "not_a_pull_endpoint", f"webhook {endpoint.id} has a URL: its events are pushed")
    if endpoint.status != "active":
        raise ApiError(409, endpoint.status, f"webhook {endpoint.id} is {endpoint.status}: nothing can be pulled")
    return endpoint


async def position_of(api: ApiServices, endpoint: Endpoint, cursor: str | None) -> LogPosition:
    """The position of a cursor; without one that of the last commit, or of the endpoint's creation."""
    if cursor is None:
        return (await _committed(api, endpoint))[0]
    try:
        position = read_cursor(endpoint.id, cursor)
    except BadCursor as error:
        raise ApiError(400, "invalid_cursor", f"cursor: {error}") from error
    if position.partition != _partition(api, endpoint):
        topic = api.topics.name(TopicName.DELIVERIES_PULL)
        if position.partition not in await api.ends.ends(topic):
            raise ApiError(400, "invalid_cursor", "cursor: it is no cursor of this API")
    return position


async def next_page(
    api: ApiServices, call: ApiRequest, position: LogPosition, query: PullQuery
) -> tuple[PulledPage, LogPosition]:
    """The next events, and the position behind them; it is empty where none came in time."""
    deadline_s = api.clock.monotonic() + query.wait_s
    truncated = False
    while True:
        endpoint = pulled_endpoint(api, call)  # it may have been deleted meanwhile
        scan = await api.pulls.scan(
            position.partition,
            position.offset,
            key=endpoint.id.encode(),
            limit=query.limit,
            max_bytes=MAX_PAGE_BYTES,
        )
        truncated = truncated or scan.truncated
        built, cut_at = _built(api, endpoint, scan.records, query)
        position = LogPosition(position.partition, scan.next_offset if cut_at is None else cut_at)
        left_s = deadline_s - api.clock.monotonic()
        at_end = position.offset >= scan.end
        current = _partition(api, endpoint)
        if at_end and position.partition != current:
            position, at_end = LogPosition(current, await _begin(api, endpoint, current)), False
        if built or left_s <= 0 or api.pull_waits.stopping:
            page = PulledPage(
                data=built, cursor=cursor_text(endpoint.id, position), has_more=not at_end, truncated=truncated
            )
            return page, position
        if at_end:
            await api.pull_waits.wait(api.pulls.grown(position.partition, position.offset, left_s))


def _built(
    api: ApiServices, endpoint: Endpoint, records: Sequence[Record], query: PullQuery
) -> tuple[list[PulledEvent], int | None]:
    """Events of records, and the offset at which building was given up; None: all were built."""
    built: list[PulledEvent] = []
    size, deadline_s = 0, api.clock.monotonic() + BUILD_S
    for record in records:
        if built and (size >= MAX_BODY_BYTES or api.clock.monotonic() > deadline_s):
            return built, record.offset
        try:
            delivery, _ = delivery_record.decode(record.key, record.value, record.headers)
        except Defect:
            continue  # another program has written it
        if (delivery.tenant, delivery.mode) == (endpoint.tenant, endpoint.mode):
            event, length = _event(api, endpoint, delivery, record, query)
            built.append(event)
            size += length
    return built, None


def _event(
    api: ApiServices, endpoint: Endpoint, delivery: Delivery, record: Record, query: PullQuery
) -> tuple[PulledEvent, int]:
    """An event, and the bytes of its body."""
    now_ms = api.clock.now_ms()
    headers: dict[str, str] = {}
    body: object = None
    error: PulledError | None = None
    size = 0
    try:
        opened = delivery if delivery.sealed is None or delivery.omitted else api.subjects.open(delivery)
        if opened is None:
            error = PulledError(reason=ERASED, detail="the subject of the event was erased")
        elif delivery.has_expired(now_ms):
            error = PulledError(reason=EXPIRED, detail="the event's expires_at has come")
        else:
            request = api.builder.request(opened, endpoint, api.builder.prepared(endpoint, now_ms), now_ms)
            headers, size = dict(request.headers), len(request.body)
            body = request.body.decode() if query.as_text else msgspec.Raw(request.body)
    except TransformFailed as failure:
        error = PulledError(reason="transform_failed", detail=str(failure))
    except (Unrepresentable, MalformedEvent) as failure:
        error = PulledError(reason="unrepresentable", detail=str(failure))
    except (ConfigError, Defect) as failure:
        raise ApiError(409, "secret_unreadable", f"the endpoint's secret cannot be used: {failure}") from failure
    event = PulledEvent(
        id=delivery.event_id,
        type=delivery.event_type,
        created_at=delivery.created_at,
        delivery=delivery.id,
        tenant=delivery.tenant,
        mode=delivery.mode,
        cursor=cursor_text(endpoint.id, LogPosition(record.partition, record.offset + 1)),
        headers=headers,
        body=body,
        error=error,
    )
    return event, size


async def commit_position(api: ApiServices, endpoint: Endpoint) -> PullPosition:
    """How far the receiver of a pull endpoint has committed, and how many records follow."""
    position, at_ms = await _committed(api, endpoint)
    end = await api.pulls.end(position.partition)
    return PullPosition(
        cursor=cursor_text(endpoint.id, position),
        committed_at=None if at_ms is None else iso(at_ms),
        behind_at_most=max(0, end - position.offset),
    )


async def _committed(api: ApiServices, endpoint: Endpoint) -> tuple[LogPosition, int | None]:
    """Where the receiver has committed, and when; without a commit where its log begins."""
    commits, current = await api.pulls.committed(endpoint.id), _partition(api, endpoint)
    for partition in (current, *sorted(commits)):
        if partition in commits:
            return LogPosition(partition, commits[partition].offset), commits[partition].at_ms
    return LogPosition(current, await _begin(api, endpoint, current)), None


async def _begin(api: ApiServices, endpoint: Endpoint, partition: int) -> int:
    return await api.pulls.offset_at(partition, max(0, endpoint.created_at_ms - _SKEW_MS))


def _partition(api: ApiServices, endpoint: Endpoint) -> int:
    return api.partition_for(api.topics.name(TopicName.DELIVERIES_PULL), endpoint.id.encode())
