"""What receivers of pull endpoints get, and what they commit."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.api.contract.fields import Input
from app.core.model.event import Mode

Cursor = Annotated[str, Meta(min_length=1, max_length=64)]


class PulledError(msgspec.Struct, frozen=True, kw_only=True):
    """Why an event has no body."""

    #: unrepresentable: the format cannot carry the data; transform_failed: the endpoint's transform has no result;
    #: erased: the event's subject was erased; expired: its `expires_at` has come
    reason: str
    detail: str


class PulledEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a pull endpoint."""

    #: the event's id; repetitions have the same
    id: str
    type: str
    created_at: str
    delivery: str
    tenant: str
    mode: Mode
    #: the position behind the event: commit it when everything up to here is done
    cursor: str
    #: the headers that a push would have; with format=text they include the signature
    headers: dict[str, str]
    #: what a push would have as its body, as JSON; with format=text the same bytes as text; null: see error
    body: Any
    error: PulledError | None = None


class PulledPage(msgspec.Struct, frozen=True, kw_only=True):
    """The next events of a pull endpoint."""

    data: list[PulledEvent]
    #: the position behind the page: continue there, and commit it when the page is done
    cursor: str
    #: whether the log has records behind the page, perhaps of other endpoints
    has_more: bool
    #: the log no longer has the position that was asked for: the page begins with the first event that is retained
    truncated: bool


class PullCommitIn(Input, frozen=True, kw_only=True):
    """Everything before the cursor is done."""

    cursor: Cursor


class PullPosition(msgspec.Struct, frozen=True, kw_only=True):
    """How far the receiver of a pull endpoint has committed."""

    #: a request without a cursor begins here
    cursor: str
    #: null: nothing is committed, or another tool has committed
    committed_at: str | None
    #: records of the log behind it, also of other endpoints of the partition
    behind_at_most: int
