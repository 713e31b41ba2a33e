"""All errors of Hookstream, by who has to act.

HookstreamError
├── ConfigError        the operator: a setting is wrong, missing, unknown or contradicts another
├── MalformedEvent     the producer: a record of events.raw is not an event (goes to events.rejected)
├── CommandRefused     the caller of a registry command: unknown endpoint, version conflict, bad value
├── Unrepresentable    the event's data cannot be written in this profile's wire format without changing it
├── TransformFailed    the endpoint's owner: its transform has no result for this event
├── RecordTooLarge     the operator: a topic accepts only smaller records than declared
├── Hindered           the operator: this machine lacks descriptors, memory, ports, a network, DNS or the proxy
├── Unavailable        the environment: broker, Java, Maven or another process is missing; the message names the remedy
│   ├── AccessDenied   the operator of Kafka: our user lacks a right; the message names the command that grants it
│   ├── RightMissing   the operator of Kafka: its message has the command that grants the right
│   └── LogMoved       the operator of Kafka: records are gone, or a topic was created again
└── Defect             the developers: an invariant does not hold

A receiver that answers 500 or not at all is not an error: it is an `HttpReply` or an `HttpFailure`
(core/model/http_exchange.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from app.core.offsets.log_moves import LogMove


class HookstreamError(Exception):
    """The base class, which is never raised itself."""


class ConfigError(HookstreamError):
    """One or more settings cannot be used; `problems` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class MalformedEvent(HookstreamError):
    """A record is not an event; `reason` is a closed code, the message describes the problem and its place."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class CommandRefused(HookstreamError):
    """The registry did not apply a command; `code` is a closed code (not_found, conflict, invalid, …).

    `problems` are JSON Pointers into the request, each with a sentence, where the refusal has them.
    """

    def __init__(self, code: str, detail: str, problems: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.problems = problems


class Unrepresentable(HookstreamError):
    """The data has no faithful form in the profile's wire format; `pointer` is the JSON Pointer of the value."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{detail} at {pointer or 'the root'}")
        self.pointer = pointer
        self.detail = detail


class TransformFailed(HookstreamError):
    """An endpoint's transform has no result for an event; the sentence quotes nothing of the event's data."""


class Unavailable(HookstreamError):
    """An external system is unavailable; the message names the remedy."""


class AccessDenied(Unavailable):
    """Kafka refuses our user an operation on a resource."""


class RightMissing(Unavailable):
    """Kafka answers, and refuses our user what every role needs."""


class RecordTooLarge(HookstreamError):
    """Kafka refused a record for its size, because the topic's `max.message.bytes` is lower than declared."""


class LogMoved(Unavailable):
    """Logs no longer contain their committed offsets. New offsets have been committed; a fresh start uses them."""

    def __init__(self, moves: Mapping[tuple[str, int], LogMove]) -> None:
        sentences = [move.sentence(*place) for place, move in sorted(moves.items())]
        super().__init__("; ".join(sentences) or "a log could not be read for a moment")
        #: (topic, partition) → the change of its log
        self.moves = moves


class Hindered(HookstreamError):
    """No request could be made because of this machine; it never counts against an endpoint. `cause` is a code."""

    def __init__(
        self, cause: Literal["descriptors", "memory", "ports", "network", "dns", "proxy"], detail: str
    ) -> None:
        super().__init__(detail)
        self.cause = cause


class Defect(HookstreamError):
    """An invariant does not hold; this needs a developer."""
