"""What the cluster says of our topics while a process runs: what changes under it, and what of that stops it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_SHOWN = 5


class TopicFacts(NamedTuple):
    """One topic, as the cluster has it now."""

    #: of this topic and no other of its name; empty: the brokers are too old to say
    id: str
    partitions: int
    #: partitions that nobody can read or write at present
    leaderless: tuple[int, ...] = ()


class Findings(NamedTuple):
    """What is wrong; each None or a sentence for `/readyz`."""

    #: the cluster answers, and cannot serve all of our topics
    leaders: str | None
    #: topics are not those that the process was started on
    topics: str | None
    #: were deleted and made again since the last look
    remade: tuple[str, ...] = ()


class Expected:
    """The topics as they were when the process started."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        """`counts`: topic → its partitions."""
        self._counts = dict(counts)
        self._ids: dict[str, str] = {}

    def compare(self, now: Mapping[str, TopicFacts]) -> Findings:
        """One look; topics that are not in `now` do not exist."""
        remade = tuple(
            sorted(name for name, facts in now.items() if facts.id and self._ids.get(name, facts.id) != facts.id)
        )
        self._ids |= {name: facts.id for name, facts in now.items()}
        return Findings(_leaders(now), self._topics(now), remade)

    def _topics(self, now: Mapping[str, TopicFacts]) -> str | None:
        gone = sorted(self._counts.keys() - now.keys())
        if gone:
            return f"{_listed(gone)} {_is(gone)} gone: run `hookstream topics apply`"
        changed = [
            f"{name} has {now[name].partitions} partitions instead of {count}"
            for name, count in sorted(self._counts.items())
            if now[name].partitions != count
        ]
        if not changed:
            return None
        return (
            f"{_listed(changed)}: counts are frozen, because keys would move away from their tables and waiting "
            "retries; `hookstream topics plan` says what to do, and a restart would be refused"
        )


def _leaders(now: Mapping[str, TopicFacts]) -> str | None:
    dark = [f"{name}/{number}" for name, facts in sorted(now.items()) for number in facts.leaderless]
    return f"no broker leads {_listed(dark)}" if dark else None


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
