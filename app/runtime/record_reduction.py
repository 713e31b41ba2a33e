"""The reduced form of a record that its topic refuses for its size: the same record with less detail.

Every record fits into its topic as declared (tests/architecture/test_record_sizes.py), but an operator may have lowered
the topic's `max.message.bytes`. A reduced delivery has no body, because the event is still in events.raw; dispatch ends
it as dead with that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from app.core.model.clipping import clip
from app.core.records.attempt import Attempt
from app.core.records.delivery import OMITTED
from app.core.records.headers import RecordHeader
from app.core.records.notice import Notice
from app.core.topics.declarations import Topics
from app.core.topics.names import RUNGS, TopicName

#: value and headers
Reduced = tuple[bytes | None, list[RecordHeader]]
_Reduce = Callable[[bytes | None, list[RecordHeader]], Reduced | None]

#: of a text that others have written, in bytes of JSON
_TEXT = 200
_encode = msgspec.json.Encoder().encode
_attempt = msgspec.json.Decoder(Attempt)
_notice = msgspec.json.Decoder(Notice)
_held = msgspec.msgpack.Decoder(tuple[bytes, bytes, list[tuple[str, bytes]]])


def reduced(logical: str, value: bytes | None, headers: Iterable[RecordHeader]) -> Reduced | None:
    """The reduced form of a record of a topic; None if there is none, or the record is reduced already."""
    reduce = _KINDS.get(logical)
    if reduce is None:
        return None
    before = value, list(headers)
    try:
        after = reduce(*before)
    except (ValueError, RecursionError):
        return None
    return None if after == before else after


def reduced_for(topics: Topics, name: str, value: bytes | None, headers: Iterable[RecordHeader]) -> Reduced | None:
    """The same for a topic's physical name."""
    logical = topics.logical(name)
    return None if logical is None else reduced(logical, value, headers)


def _attempt_record(value: bytes | None, headers: list[RecordHeader]) -> Reduced:
    attempt = _attempt.decode(value or b"")
    small = msgspec.structs.replace(
        attempt,
        response_headers=None,
        response_body=None,
        error=_short(attempt.error),
        url=clip(attempt.url, _TEXT),
        cut=("record",),
    )
    return _encode(small), headers


def _delivery(value: bytes | None, headers: list[RecordHeader]) -> Reduced | None:
    if not value:
        return None
    return b"", [*(each for each in headers if each[0] != "last-error"), (OMITTED, b"%d" % len(value))]


def _held_delivery(value: bytes | None, headers: list[RecordHeader]) -> Reduced | None:
    key, body, own = _held.decode(value or b"")
    small = _delivery(body, own)
    return None if small is None else (msgspec.msgpack.encode((key, *small)), headers)


def _rejected(value: bytes | None, headers: list[RecordHeader]) -> Reduced:
    ours = [each for each in headers if each[0].startswith("rejected-")]
    size = len(value or b"") + sum(len(name) + len(text or b"") for name, text in headers if (name, text) not in ours)
    if not any(name == "rejected-truncated-from" for name, _ in ours):
        ours.append(("rejected-truncated-from", b"%d" % size))
    return b"", ours


def _notice_record(value: bytes | None, headers: list[RecordHeader]) -> Reduced:
    notice = _notice.decode(value or b"")
    data = {name: clip(each, _TEXT) if isinstance(each, str) else each for name, each in notice.data.items()}
    return _encode(msgspec.structs.replace(notice, summary=clip(notice.summary, _TEXT), data=data)), headers


def _short(text: str | None) -> str | None:
    return None if text is None else clip(text, _TEXT)


_KINDS: dict[str, _Reduce] = {
    TopicName.ATTEMPTS: _attempt_record,
    TopicName.DELIVERIES: _delivery,
    TopicName.DELIVERIES_ORDERED: _delivery,
    TopicName.DELIVERIES_PULL: _delivery,
    TopicName.DELIVERIES_DEAD: _delivery,
    **{f"{TopicName.DELIVERIES_DELAY}.{name}": _delivery for name, _ in RUNGS},
    TopicName.SEQUENCER_WAITING: _held_delivery,
    TopicName.EVENTS_REJECTED: _rejected,
    TopicName.NOTICES: _notice_record,
}
