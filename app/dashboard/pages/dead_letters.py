"""Dead deliveries grouped by reason, so that the causes to repair are visible at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from app.api.contract.deliveries import BulkDiscardIn, DeliverySelection
from app.api.contract.fields import FieldError
from app.api.handlers import delivery_filters, discards, retries
from app.api.problems import invalid
from app.core.errors import Unavailable
from app.core.model import timestamps
from app.core.readmodel.rows import DeadLetterGroup, DeliveryFilter
from app.dashboard.pages.deliveries import urls
from app.dashboard.request import PageContext, PageRequest, PageResult, TemplatePage, body_of

_MOST = 100
#: deliveries of a round, and rounds of a request
_ROUND = 1000
_ROUNDS = 5


async def list_(desk: PageContext, visit: PageRequest) -> PageResult:
    """The groups of dead deliveries, the largest first."""
    return await _page(desk, visit, visit.query.get("since", "7d"))


async def retry(desk: PageContext, visit: PageRequest) -> PageResult:
    """Retry all deliveries of a group, and show those that could not be retried."""
    which = _group(desk, visit)
    retried, skipped, cursor = 0, Counter[str](), None
    for _ in range(_ROUNDS):
        answer = await retries.retry_those(desk.api, which, limit=_ROUND, cursor=cursor)
        retried, cursor = retried + answer.retried, answer.next_cursor
        skipped.update(answer.skipped)
        if cursor is None:
            break
    shown = {"done": retried, "verb": "retried", "skipped": skipped, "more": cursor is not None}
    return await _page(desk, visit, visit.field("since", "7d"), answer=shown)


async def discard(desk: PageContext, visit: PageRequest) -> PageResult:
    """Discard all deliveries of a group."""
    which = _group(desk, visit)
    why = body_of(BulkDiscardIn, {"why": visit.field("why").strip() or None}).why
    if why is None:
        raise invalid(FieldError(detail="why: say why they are not needed", pointer="/why"))
    discarded, cursor = 0, None
    for _ in range(_ROUNDS):
        answer = await discards.discard_those(desk.api, which, why=why, limit=_ROUND, cursor=cursor)
        discarded, cursor = discarded + answer.discarded, answer.next_cursor
        if cursor is None:
            break
    shown = {"done": discarded, "verb": "discarded", "skipped": {}, "more": cursor is not None}
    return await _page(desk, visit, visit.field("since", "7d"), answer=shown)


def _group(desk: PageContext, visit: PageRequest) -> DeliveryFilter:
    """The dead deliveries of the group that a form names."""
    values = {name: visit.field(name) or None for name in ("endpoint", "result", "status")}
    body = body_of(DeliverySelection, values | {"since": visit.field("since", "7d")})
    asked = delivery_filters.of_body(desk.api, visit.call(), body, ["dead"])
    # the page groups by why they died, and looks at when they died: not at when the event was accepted
    reason = visit.field("reason") or None
    return msgspec.structs.replace(asked, reason=reason, since_ms=None, changed_since_ms=asked.since_ms)


async def _page(
    desk: PageContext, visit: PageRequest, since: str, *, answer: Mapping[str, Any] | None = None
) -> TemplatePage:
    now_ms, wrong, caller = desk.api.clock.now_ms(), "", visit.caller
    try:
        since_ms = timestamps.moment(since, now_ms)
    except (ValueError, OverflowError) as error:
        since, since_ms, wrong = "7d", timestamps.moment("7d", now_ms), str(error)
    groups: Sequence[DeadLetterGroup] = ()
    has_reads = True
    try:
        groups = await desk.api.reads.dead_groups(caller.tenant, caller.mode, since_ms=since_ms, limit=_MOST)
    except Unavailable:
        has_reads = False
    values = {
        "has_reads": has_reads,
        "groups": groups,
        "names": urls(desk, visit),
        "since": since,
        "wrong": wrong,
        "answer": answer,
    }
    return TemplatePage(template="dead.html", values=values)
