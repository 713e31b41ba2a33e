"""Which events of a range of events.raw a replay delivers, by fan-out's decisions and the outcomes in the log.

Rules of this file
- Fan-out's decisions are not made again: its accepted records show which records are events, and their sequences.
- The outcome of a delivery is that of the latest record about it, in `attempts` or `deliveries.dead`.
- Deliveries that the replay itself handed out before an interruption are not handed out again, if the log has them.
- `missing` selects events that were never delivered to the endpoint: the delivery was not attempted, is not in
  `deliveries` or `deliveries.ordered`, and is not parked for a resume that is still to come.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from app.core.directory import Directory
from app.core.model.channels import carries
from app.core.model.endpoint import Endpoint
from app.core.model.event import Event
from app.core.model.event_types import includes
from app.core.model.replay import Replay, ReplayFilter
from app.core.records import idempotency_entry
from app.core.records.record import ConsumedRecord
from app.roles.replay.eligibility import ReplayRoute

#: milliseconds by which the clocks of the changelog and the registry may differ
_CLOCKS_MS = 60_000
#: milliseconds by which a producer's timestamps may be ahead (Kafka refuses more)
_AHEAD_MS = 3_600_000
#: states of a delivery that count as its outcome
_OUTCOMES = frozenset(("delivered", "retrying", "dead"))


def targets(replay: Replay, directory: Directory, event_type: str) -> tuple[str, ...]:
    """The ids of endpoints to which a replay delivers events of a type.

    Subscriptions are those of now; endpoints that were created after the replay are not included.
    """
    if replay.types and not any(includes(pattern, event_type) for pattern in replay.types):
        return ()
    if replay.endpoint_id:
        wanted = directory.subscribes(replay.endpoint_id, replay.tenant, replay.mode, event_type)
        return (replay.endpoint_id,) if wanted else ()
    matching = directory.match(replay.tenant, replay.mode, event_type)
    return tuple(each.id for each in matching if each.created_at_ms <= replay.created_at_ms)


def on_channels(targets: tuple[str, ...], event: Event, directory: Directory) -> tuple[str, ...]:
    """Those of the target endpoints that have no channels, or one that the event carries."""
    wanted = {each.id: each.channels for each in map(directory.endpoint, targets) if each is not None and each.channels}
    if not wanted:
        return targets
    return tuple(each for each in targets if carries(event.channels, wanted.get(each)))


def covered(replay: Replay, directory: Directory) -> list[Endpoint]:
    """The endpoints to which a replay may deliver events."""
    if replay.endpoint_id:
        one = directory.endpoint(replay.endpoint_id)
        return [one] if one is not None else []
    mine = directory.endpoints(replay.tenant, replay.mode)
    return [each for each in mine if each.created_at_ms <= replay.created_at_ms]


def waits_for_resume(endpoint: Endpoint, directory: Directory) -> bool:
    """Whether a resume, now or later, delivers the parked deliveries of an endpoint."""
    return endpoint.status == "paused" or any(
        each.endpoint_id == endpoint.id and each.reason == "resume" and each.state not in ("done", "cancelled")
        for each in directory.replays.values()
    )


class _Wanted(NamedTuple):
    targets: tuple[str, ...]
    #: -1: fan-out has not accepted the record
    sequence: int
    #: endpoints whose filters refuse the event
    filtered: int


_UNSEEN = -1


class EventChunk:
    """Matching events of a part of the range, with fan-out's decisions and the outcomes of their deliveries."""

    def __init__(self, only: ReplayFilter = "all") -> None:
        self._only = only
        #: partition → offset → target endpoints and fan-out's decision
        self._wanted: dict[int, dict[int, _Wanted]] = {}
        #: endpoint → event → (time, state) of its latest record
        self._last: dict[str, dict[str, tuple[int, str]]] = {}
        self._keyed: set[int] = set()
        #: the target endpoints of all events
        self.recipients: set[str] = set()
        #: (endpoint, event) → route of deliveries that the replay has handed out
        self._handed_out: dict[tuple[str, str], ReplayRoute] = {}
        #: matching deliveries, with those that filters refuse in a dry run
        self.size = 0
        self._first_ms: int | None = None

    def add_event(self, event: Event, record: ConsumedRecord, targets: tuple[str, ...], *, filtered: int = 0) -> None:
        """Add a matching record of events.raw; the filters of `filtered` further endpoints refuse it."""
        self.size += len(targets) + filtered
        self.recipients.update(targets)
        self._wanted.setdefault(record.partition, {})[record.offset] = _Wanted(targets, _UNSEEN, filtered)
        if self._only != "all":
            for each in targets:
                self._last.setdefault(each, {})[event.id] = (0, "")
        if has_key(event):
            self._keyed.add(record.partition)
        if self._first_ms is None or record.timestamp < self._first_ms:
            self._first_ms = record.timestamp

    @property
    def partitions(self) -> list[int]:
        """The partitions of the changelog that have fan-out's decisions."""
        return sorted(self._keyed)

    @property
    def endpoints(self) -> Collection[str]:
        """The endpoints whose outcomes are needed."""
        return self._last.keys()

    def since_ms(self, replay: Replay, endpoint: Endpoint | None) -> int:
        """From when on the log may have records about these events, in milliseconds since the epoch.

        A recovery's deliveries cannot be older than the suspension. The events' own timestamps are their producers' and
        may lie in the future.
        """
        if replay.reason == "replay" or endpoint is None:
            return max(0, (self._first_ms or 0) - _AHEAD_MS)
        begun = [
            suspension.since_ms
            for suspension in endpoint.suspensions
            if (suspension.begin, suspension.end) == (replay.begin, replay.end)
        ]
        return max(0, min([*begun[-1:], self._first_ms or 0]) - _CLOCKS_MS)

    def add_decisions(self, partition: int, value: bytes | None) -> None:
        """Add fan-out's decisions from a record of its idempotency changelog."""
        wanted = self._wanted.get(partition)
        if not wanted or value is None:
            return
        for accepted in idempotency_entry.decode(value):
            if accepted.partition == partition and (event := wanted.get(accepted.offset)) is not None:
                wanted[accepted.offset] = event._replace(sequence=accepted.sequence)

    def add_outcome(self, endpoint_id: str, event_id: str, at_ms: int, state: str) -> None:
        """Add the state of a delivery from a record: `delivered`, `retrying` or `dead`, or any other for in flight."""
        last = self._last.get(endpoint_id, {}).get(event_id)
        if last is not None and at_ms >= last[0] and (self._only == "missing" or state in _OUTCOMES):
            self._last[endpoint_id][event_id] = (at_ms, state)

    def add_handed_out(self, endpoint_id: str, event_id: str, route: ReplayRoute) -> None:
        """Note that the replay itself handed out this delivery before an interruption."""
        if endpoint_id in self.recipients:
            self._handed_out[endpoint_id, event_id] = route

    def handed_out(self, event: Event, record: ConsumedRecord) -> list[tuple[str, ReplayRoute]]:
        """The endpoints to which the replay has already handed out the event, with the routes."""
        wanted = self._wanted.get(record.partition, {}).get(record.offset) if self._handed_out else None
        routes = [(each, self._handed_out.get((each, event.id))) for each in (wanted.targets if wanted else ())]
        return [(each, route) for each, route in routes if route is not None]

    def decided(self, event: Event, record: ConsumedRecord) -> tuple[bool, int | None]:
        """Whether fan-out accepted the record (otherwise it was a duplicate), and the event's sequence."""
        if not has_key(event):
            return True, None
        wanted = self._wanted.get(record.partition, {}).get(record.offset)
        sequence = wanted.sequence if wanted is not None else _UNSEEN
        return sequence != _UNSEEN, sequence if sequence > 0 else None

    def selected(self, event: Event, record: ConsumedRecord) -> list[str]:
        """The endpoints to which the event is to be delivered."""
        wanted = self._wanted.get(record.partition, {}).get(record.offset)
        remaining = [each for each in (wanted.targets if wanted else ()) if (each, event.id) not in self._handed_out]
        if self._only == "all":
            return remaining
        state = "dead" if self._only == "failed" else ""
        return [each for each in remaining if self._last[each][event.id][1] == state]

    def filtered(self, record: ConsumedRecord) -> int:
        """The number of endpoints whose filters refuse the event of a record."""
        wanted = self._wanted.get(record.partition, {}).get(record.offset)
        return wanted.filtered if wanted is not None else 0


def has_key(event: Event) -> bool:
    """Whether fan-out stores an accepted record for the event."""
    return event.idempotency_key is not None or event.ordering_key is not None
