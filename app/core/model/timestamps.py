"""Points in time as users write them: ISO 8601, `2h` for two hours ago, `begin`, `now`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

#: date, time and zone; fromisoformat accepts more, such as weeks, or a date with a zone
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,64})?)?([Zz]|[+-]([01]\d|2[0-3]):?[0-5]\d)", re.ASCII
)
_AGO = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
#: the accepted forms, for error messages
FORMS = "ISO 8601 with zone (2026-01-31T08:00:00Z), a time ago (90s, 2h, 3d), begin or now"
#: `begin`: before every record
BEGIN = 0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(text: str, forms: str = "ISO 8601 with date, time and zone (2026-01-31T08:00:00Z)") -> datetime:
    """The time of an ISO 8601 text with date, time and zone. Raises `ValueError` with a sentence for the user."""
    if not _TIMESTAMP.fullmatch(text):
        if len(text) <= 80 and _TIMESTAMP.fullmatch(f"{text}Z"):
            raise ValueError(f"{text!r} has no zone: write {text}Z for UTC, or an offset such as +02:00")
        raise ValueError(f"{text[:80]!r} is not a point in time: write {forms}")
    try:
        parsed = datetime.fromisoformat(text.upper())
        parsed.astimezone(UTC)  # the first and the last day end in UTC, too
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is not a point in time: the day or the time of day does not exist") from error
    return parsed


def milliseconds(at: datetime) -> int:
    """Milliseconds since the epoch; 0 for an earlier time."""
    return max(BEGIN, (at - _EPOCH) // timedelta(milliseconds=1))


def moment(text: str, now_ms: int) -> int:
    """A point in time in milliseconds since the epoch; `begin` is 0. Raises `ValueError` with a sentence."""
    form = text.strip()
    if form.lower() == "now":
        return now_ms
    if form.lower() == "begin":
        return BEGIN
    if ago := _AGO.fullmatch(form):
        return max(BEGIN, now_ms - int(ago[1]) * _UNIT_MS[ago[2]])
    return milliseconds(timestamp(form, FORMS))


def span(begin: str, end: str, now_ms: int) -> tuple[int, int]:
    """Both ends of a time range in the past, in milliseconds since the epoch. Raises `BadTimeRange`."""
    try:
        begin_ms = moment(begin, now_ms)
    except (ValueError, OverflowError) as error:
        raise BadTimeRange("from", str(error)) from error
    try:
        end_ms = moment(end, now_ms)
    except (ValueError, OverflowError) as error:
        raise BadTimeRange("to", str(error)) from error
    if begin_ms > now_ms:
        raise BadTimeRange("from", f"{begin} is in the future: nothing has happened since then")
    if end_ms < begin_ms:
        raise BadTimeRange("to", f"{end} is before {begin}: give the earlier time as `from`")
    return begin_ms, end_ms


class BadTimeRange(ValueError):
    """A time range cannot be used; `field` is `from` or `to`."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail


#: the end of the year 9999
_LAST_MS = 253_402_300_799_999


def iso(timestamp_ms: int) -> str:
    """A timestamp in milliseconds as ISO 8601 in UTC; one outside of the calendar becomes the nearest."""
    seconds, ms = divmod(min(max(timestamp_ms, 0), _LAST_MS), 1000)
    return f"{_second(seconds)}.{ms:03}Z"


@lru_cache(64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
