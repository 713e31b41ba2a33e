"""Every error of Hookstream, sorted by who has to act.

HookstreamError
├── ConfigError        the operator: a setting is wrong, missing, unknown or contradicts another
├── MalformedEvent     the producer: a record of events.raw is not an event (goes to events.rejected)
├── CommandRefused     the caller of a registry command: unknown endpoint, version conflict, bad value
├── Unrepresentable    the event's data cannot be written in this profile's wire format without changing it
├── TooLarge           the operator: a topic takes only smaller records than its declaration says
├── Hindered           the operator: this machine lacks descriptors, memory, ports, a network or DNS
├── Unavailable        the environment: broker, Java, Maven or another process is not there (says the way out)
└── Defect             us: an invariant does not hold

A receiver that answers 500 or not at all is no error: it is a `Reply` or a `Refusal` (core/model/http_exchange.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from app.core.offsets.log_moves import LogMove


class HookstreamError(Exception):
    """The root; never raised itself."""


class ConfigError(HookstreamError):
    """One or more settings cannot be used; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class MalformedEvent(HookstreamError):
    """A record is not an event; `reason` is a closed code, the message says what is wrong and where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class CommandRefused(HookstreamError):
    """The registry did not apply a command; `code` is a closed code (not_found, conflict, invalid, …)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Unrepresentable(HookstreamError):
    """The data has no faithful form in the profile's wire format; `pointer` is the JSON Pointer of the culprit."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{detail} at {pointer or 'the root'}")
        self.pointer = pointer
        self.detail = detail


class Unavailable(HookstreamError):
    """Something outside is not there; the message names the ways on."""


class RecordTooLarge(HookstreamError):
    """Kafka refuses a record for its size: the `max.message.bytes` of its topic is below what is declared."""


class LogMoved(Unavailable):
    """Logs are not where they were left; the offsets from which to go on are committed, and a fresh start uses them."""

    def __init__(self, moves: Mapping[tuple[str, int], LogMove]) -> None:
        sentences = [move.sentence(*place) for place, move in sorted(moves.items())]
        super().__init__("; ".join(sentences) or "a log could not be read for a moment")
        #: (topic, partition) → what happened
        self.moves = moves


class Hindered(HookstreamError):
    """No request could be made, for a reason of our own: never charged to an endpoint. `cause` is a closed word."""

    def __init__(self, cause: Literal["descriptors", "memory", "ports", "network", "dns"], detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


class Defect(HookstreamError):
    """An invariant of ours does not hold: stop and look."""
