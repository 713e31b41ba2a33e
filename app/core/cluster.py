"""Compare the topics of the cluster with those at the start of the process."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

_SHOWN = 5


class TopicFacts(NamedTuple):
    """One topic of the cluster."""

    #: differs from that of an earlier topic of the same name; empty: the brokers are too old to have it
    id: str
    partitions: int
    #: partitions without a leader, which cannot be read or written
    leaderless: tuple[int, ...] = ()


class Findings(NamedTuple):
    """Problems of the topics; the first two are sentences for `/readyz`, or None."""

    #: partitions without a leader
    leaders: str | None
    #: missing topics, and changed partition counts
    topics: str | None
    #: topics that were deleted and created again since the last comparison
    recreated: tuple[str, ...] = ()


class Expected:
    """The topics at the start of the process."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        """`counts`: topic → number of partitions."""
        self._counts = dict(counts)
        self._ids: dict[str, str] = {}

    def compare(self, now: Mapping[str, TopicFacts], hidden: Collection[str] = ()) -> Findings:
        """Compare. Topics that are not in `now` do not exist, except those that are `hidden` from us."""
        recreated = tuple(
            sorted(name for name, facts in now.items() if facts.id and self._ids.get(name, facts.id) != facts.id)
        )
        self._ids |= {name: facts.id for name, facts in now.items()}
        return Findings(_leaders(now), self._topics(now, hidden), recreated)

    def _topics(self, now: Mapping[str, TopicFacts], hidden: Collection[str]) -> str | None:
        missing = sorted(self._counts.keys() - now.keys() - set(hidden))
        if missing:
            return f"{_listed(missing)} {_is(missing)} missing: run `hookstream topics apply`"
        changed = [
            f"{name} has {now[name].partitions} partitions instead of {count}"
            for name, count in sorted(self._counts.items())
            if name in now and now[name].partitions != count
        ]
        if not changed:
            return None
        return (
            f"{_listed(changed)}: counts are frozen, because keys would move away from their tables and waiting "
            "retries; `hookstream topics plan` shows the remedy, and a restart would be refused"
        )


def _leaders(now: Mapping[str, TopicFacts]) -> str | None:
    without = [f"{name}/{number}" for name, facts in sorted(now.items()) for number in facts.leaderless]
    return f"no broker leads {_listed(without)}" if without else None


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
