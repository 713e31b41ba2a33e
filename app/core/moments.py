"""Points in time as people write them: ISO 8601, `2h` ago, `begin`, `now`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
#: what may be written, for messages
FORMS = "ISO 8601 with zone (2026-01-31T08:00:00Z), a time ago (90s, 2h, 3d), begin or now"
#: before everything
BEGIN = 0


def moment(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch; `begin` is 0. Raises `ValueError` with a sentence."""
    said = text.strip()
    if said.lower() == "now":
        return now_ms
    if said.lower() == "begin":
        return BEGIN
    if ago := _AGO.fullmatch(said):
        return max(BEGIN, now_ms - int(ago[1]) * _UNIT_MS[ago[2]])
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise ValueError(f"{text!r} is no point in time: write {FORMS}") from None
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no zone: write {said}Z for UTC, or an offset such as +02:00")
    since = found.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return max(BEGIN, since // timedelta(milliseconds=1))


def span(begin: str, end: str, now_ms: int) -> tuple[int, int]:
    """Both ends of a span of the past; raises `Unfit` when there is none."""
    try:
        begin_ms = moment(begin, now_ms)
    except (ValueError, OverflowError) as error:
        raise Unfit("from", str(error)) from error
    try:
        end_ms = moment(end, now_ms)
    except (ValueError, OverflowError) as error:
        raise Unfit("to", str(error)) from error
    if begin_ms > now_ms:
        raise Unfit("from", f"{begin} is in the future: nothing has happened since then")
    if end_ms < begin_ms:
        raise Unfit("to", f"{end} is before {begin}: give the earlier time as `from`")
    return begin_ms, end_ms


class Unfit(ValueError):
    """A span cannot be used; `field` is `from` or `to`."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.detail = detail
