"""The offset range of a time range in events.raw, and warnings about deleted records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.core.model.replay import OldestRecord
from app.core.model.timestamps import BEGIN, iso


class TimeRange(NamedTuple):
    """The requested time range; `from_ms` 0 is the beginning."""

    from_ms: int
    to_ms: int


def messages(span: TimeRange, oldest: Mapping[int, OldestRecord], now_ms: int) -> list[str]:
    """Warnings where the requested range and the retained log differ."""
    warnings = []
    times = [each.timestamp_ms for each in oldest.values() if each.timestamp_ms is not None]
    first_ms = min(times, default=None)
    if first_ms is None:
        warnings.append("no record is kept at all: there is nothing to replay")
    elif span.to_ms < first_ms:
        warnings.append(f"to {iso(span.to_ms)} is before the oldest record kept, {iso(first_ms)}: there is nothing")
    elif BEGIN < span.from_ms < first_ms:
        warnings.append(f"from {iso(span.from_ms)} is before the oldest record kept, {iso(first_ms)}: begins there")
    cut = [each for each in oldest.values() if each.has_lost and _begins_late(each, span)]
    if cut and first_ms is not None:
        until_ms = max(each.timestamp_ms for each in cut if each.timestamp_ms is not None) if times else 0
        warnings.append(
            f"retention has removed events of this range from {len(cut)} of {len(oldest)} partitions of events.raw, "
            f"none that is younger than {iso(until_ms)}: they cannot be replayed"
        )
    if span.to_ms > now_ms:
        warnings.append(f"to {iso(span.to_ms)} is in the future: ends now, at {iso(now_ms)}")
    return warnings


def outcomes_messages(span: TimeRange, oldest: Mapping[int, OldestRecord], only: str) -> list[str]:
    """A warning about attempts that retention has deleted; `oldest` has the endpoints' partitions."""
    cut = [each for each in oldest.values() if each.has_lost and _begins_late(each, span)]
    if only == "all" or not cut:
        return []
    times = [each.timestamp_ms for each in cut if each.timestamp_ms is not None]
    since = f"before {iso(max(times))}" if times else "so far"
    wrong = "deliveries that failed" if only == "failed" else "deliveries that were made"
    return [f"attempts made {since} were deleted by retention: {wrong} then are {_WRONG[only]}"]


_WRONG = {"failed": "not found", "missing": "treated as missing and delivered again"}


def _begins_late(oldest: OldestRecord, span: TimeRange) -> bool:
    return oldest.timestamp_ms is None or span.from_ms < oldest.timestamp_ms
