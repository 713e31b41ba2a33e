"""Which deliveries of a stretch of events.raw a replay makes: as fan-out decided, and by what has become of them.

Rules of this file
- Fan-out's decisions are not made again: its sights say which records are events, and with which sequence.
- What became of a delivery is what the log says last: `attempts` (every attempt, every end) and `deliveries.dead`.
- What the replay itself has handed out before it was interrupted is not handed out again, as far as the log shows it.
- `missing` is what the log has never handed to the endpoint: not attempted, not in `deliveries` or
  `deliveries.ordered`, and not put aside for a resume that is still to come.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from app.core.directory import Directory
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.event_types import includes
from app.core.model.replay import Replay, ReplayFilter
from app.core.records import idempotency_entry
from app.core.records.record import ConsumedRecord
from app.roles.replay.eligibility import ReplayRoute

#: what the changelog's clock and the registry's may differ by
_CLOCKS_MS = 60_000
#: how far ahead a producer's timestamps may be (Kafka itself refuses more)
_AHEAD_MS = 3_600_000
#: the deliveries of other processes' `attempts` that count as an end or a beginning
_SAID = frozenset(("delivered", "retrying", "dead"))


def targets(replay: Replay, directory: Directory, event_type: str) -> tuple[str, ...]:
    """The endpoints that a replay gives events of a type, as they match now; later ones are not meant."""
    if replay.types and not any(includes(pattern, event_type) for pattern in replay.types):
        return ()
    if replay.endpoint_id:
        wanted = directory.subscribes(replay.endpoint_id, replay.tenant, replay.mode, event_type)
        return (replay.endpoint_id,) if wanted else ()
    matching = directory.match(replay.tenant, replay.mode, event_type)
    return tuple(each.id for each in matching if each.created_at_ms <= replay.created_at_ms)


def covered(replay: Replay, directory: Directory) -> list[Endpoint]:
    """The endpoints that a replay may give something."""
    if replay.endpoint_id:
        one = directory.endpoint(replay.endpoint_id)
        return [one] if one is not None else []
    mine = directory.endpoints(replay.tenant, replay.mode)
    return [each for each in mine if each.created_at_ms <= replay.created_at_ms]


def waits_for_resume(endpoint: Endpoint, directory: Directory) -> bool:
    """Whether what was put aside for an endpoint is still going to be delivered."""
    return endpoint.status == "paused" or any(
        each.endpoint_id == endpoint.id and each.reason == "resume" and each.state not in ("done", "cancelled")
        for each in directory.replays.values()
    )


class _Wanted(NamedTuple):
    targets: tuple[str, ...]
    #: -1: no sight was seen
    sequence: int


_UNSEEN = -1


class EventChunk:
    """The events of a part of a stretch that match, and what the log says about them."""

    def __init__(self, only: ReplayFilter = "all") -> None:
        self._only = only
        #: partition → offset → whom it is for, and what fan-out decided
        self._wanted: dict[int, dict[int, _Wanted]] = {}
        #: endpoint → event → (when, what the log said last)
        self._last: dict[str, dict[str, tuple[int, str]]] = {}
        self._keyed: set[int] = set()
        #: whom these are for
        self.recipients: set[str] = set()
        #: (endpoint, event) that the replay has handed out already
        self._made: dict[tuple[str, str], ReplayRoute] = {}
        #: deliveries that match
        self.size = 0
        self._first_ms: int | None = None

    def want(self, event: Event, record: ConsumedRecord, targets: tuple[str, ...]) -> None:
        """A record of events.raw that matches."""
        self.size += len(targets)
        self.recipients.update(targets)
        self._wanted.setdefault(record.partition, {})[record.offset] = _Wanted(targets, _UNSEEN)
        if self._only != "all":
            for each in targets:
                self._last.setdefault(each, {})[event.id] = (0, "")
        if has_key(event):
            self._keyed.add(record.partition)
        if self._first_ms is None or record.timestamp < self._first_ms:
            self._first_ms = record.timestamp

    @property
    def partitions(self) -> list[int]:
        """Whose changelog has to be read."""
        return sorted(self._keyed)

    @property
    def endpoints(self) -> Collection[str]:
        """Whose outcomes have to be read."""
        return self._last.keys()

    def since_ms(self, replay: Replay, endpoint: Endpoint | None) -> int:
        """From when on the log tells about these: nothing of a suspension was there before the suspension began.

        The events' own timestamps are their producers' and may lie in the future.
        """
        if replay.reason == "replay" or endpoint is None:
            return max(0, (self._first_ms or 0) - _AHEAD_MS)
        begun = [
            suspension.since_ms
            for suspension in endpoint.suspensions
            if (suspension.begin, suspension.end) == (replay.begin, replay.end)
        ]
        return max(0, min([*begun[-1:], self._first_ms or 0]) - _CLOCKS_MS)

    def learn(self, partition: int, value: bytes | None) -> None:
        """A record of the changelog of the table `idempotency`."""
        wanted = self._wanted.get(partition)
        if not wanted or value is None:
            return
        for sight in idempotency_entry.decode(value):
            if sight.partition == partition and (known := wanted.get(sight.offset)) is not None:
                wanted[sight.offset] = known._replace(sequence=sight.sequence)

    def said(self, endpoint_id: str, event_id: str, at_ms: int, state: str) -> None:
        """The log says what became of a delivery (`delivered`, `retrying`, `dead`), or that it is under way."""
        known = self._last.get(endpoint_id, {}).get(event_id)
        if known is not None and at_ms >= known[0] and (self._only == "missing" or state in _SAID):
            self._last[endpoint_id][event_id] = (at_ms, state)

    def made(self, endpoint_id: str, event_id: str, fate: ReplayRoute) -> None:
        """The replay itself has handed out this delivery, before it was interrupted."""
        if endpoint_id in self.recipients:
            self._made[endpoint_id, event_id] = fate

    def repeated(self, event: Event, record: ConsumedRecord) -> list[tuple[str, ReplayRoute]]:
        """The endpoints that were given it already, and how."""
        known = self._wanted.get(record.partition, {}).get(record.offset) if self._made else None
        found = [(each, self._made.get((each, event.id))) for each in (known.targets if known else ())]
        return [(each, fate) for each, fate in found if fate is not None]

    def decided(self, event: Event, record: ConsumedRecord) -> tuple[bool, int | None]:
        """Whether fan-out took it for an event (else it was a producer's duplicate), and its sequence."""
        if not has_key(event):
            return True, None
        known = self._wanted.get(record.partition, {}).get(record.offset)
        sequence = known.sequence if known is not None else _UNSEEN
        return sequence != _UNSEEN, sequence if sequence > 0 else None

    def chosen(self, event: Event, record: ConsumedRecord) -> list[str]:
        """The endpoints that are to get it."""
        known = self._wanted.get(record.partition, {}).get(record.offset)
        found = [each for each in (known.targets if known else ()) if (each, event.id) not in self._made]
        if self._only == "all":
            return found
        state = "dead" if self._only == "failed" else ""
        return [each for each in found if self._last[each][event.id][1] == state]


def has_key(event: Event) -> bool:
    """Whether fan-out keeps a sight of it."""
    return event.idempotency_key is not None or event.ordering_key is not None
