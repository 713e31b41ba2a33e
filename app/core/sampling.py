"""Limit log lines about events that may occur very often."""

from __future__ import annotations

from math import inf


class Sampled:
    """Allows at most `most` lines in `every_s` seconds."""

    def __init__(self, *, most: int, every_s: float) -> None:
        self._most = most
        self._every_s = every_s
        self._begun_s = -inf
        self._taken = 0
        self._omitted = 0

    def take(self, now_s: float) -> int | None:
        """How many lines were left out since the last one that was written; None: leave this one out, too."""
        if now_s - self._begun_s >= self._every_s:
            self._begun_s, self._taken = now_s, 0
        if self._taken == self._most:
            self._omitted += 1
            return None
        self._taken += 1
        omitted, self._omitted = self._omitted, 0
        return omitted


class SampledByKey:
    """Allows at most `each` lines of one key and `most` of all keys in `every_s` seconds."""

    def __init__(self, *, each: int, most: int, every_s: float) -> None:
        self._each = each
        self._all = Sampled(most=most, every_s=every_s)
        self._every_s = every_s
        self._begun_s = -inf
        #: lines by key since then; has at most `most` keys
        self._taken: dict[str, int] = {}
        self._omitted = 0

    def take(self, key: str, now_s: float) -> int | None:
        """How many lines were left out since the last one, of all keys; None: leave this one out, too."""
        if now_s - self._begun_s >= self._every_s:
            self._begun_s = now_s
            self._taken.clear()
        taken = self._taken.get(key, 0)
        if taken == self._each or self._all.take(now_s) is None:
            self._omitted += 1
            return None
        self._taken[key] = taken + 1
        omitted, self._omitted = self._omitted, 0
        return omitted


class Tallied:
    """Counts occurrences by reason, with the first example of each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, dict[str, object]] = {}

    def note(self, reason: str, **example: object) -> None:
        """Count an occurrence; the keywords describe it."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        self._examples.setdefault(reason, example)

    def taken(self) -> list[tuple[str, int, dict[str, object]]]:
        """The reason, count and first example of each; then starts again at zero."""
        totals = [(reason, count, self._examples[reason]) for reason, count in self._counts.items()]
        self._counts.clear()
        self._examples.clear()
        return totals
