"""Trace contexts: which trace an event belongs to, and the ids of the spans of fan-out and attempts.

Span ids are derived, not random. Each role computes the context of the span before it from the record that it reads, so
that no record carries more than the producer's `traceparent`, and a retry finds the span of the attempt before it.

- An event with a `traceparent` continues the producer's trace. Without one its trace is derived from its identity.
- A replay has traces of its own, because it may run days later: one for the event in fan-out, one for each delivery.
  Their spans link to the event's first trace.
- A record that is read again after a crash repeats its span id.
"""

from __future__ import annotations

import re
from hashlib import blake2b

import msgspec

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]{0,400})?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class TraceContext(msgspec.Struct, frozen=True):
    """A span's place, as W3C Trace Context has it; ids are lower-case hex."""

    trace_id: str
    #: empty: the trace has no span yet
    span_id: str = ""
    sampled: bool = True

    def at(self, span_id: str) -> TraceContext:
        """The context of another span of the trace."""
        return TraceContext(self.trace_id, span_id, self.sampled)

    @property
    def traceparent(self) -> str:
        """The header's value."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def read(traceparent: str | None) -> TraceContext | None:
    """The context of a header; None when there is none, or it is not valid."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def event_trace(tenant: str, mode: str, event_id: str, traceparent: str | None) -> TraceContext:
    """The trace of an event: that of its producer, or a derived one."""
    return read(traceparent) or TraceContext(_derived(16, "event", tenant, mode, event_id))


def replay_trace(*identity: str) -> TraceContext:
    """The trace of what a replay does with an event, or with a delivery."""
    return TraceContext(_derived(16, "replay", *identity))


def request_trace(request_id: str, traceparent: str | None) -> TraceContext:
    """The trace of a request to the API: that of its caller, or a derived one."""
    return read(traceparent) or TraceContext(_derived(16, "request", request_id))


def accept_span(request_id: str) -> str:
    """The id of the span in which the API appends the events of a request."""
    return _derived(8, "accept", request_id)


def fanout_span(tenant: str, mode: str, event_id: str, replay_id: str) -> str:
    """The id of the span of fan-out."""
    return _derived(8, "fanout", tenant, mode, event_id, replay_id)


def attempt_span(delivery_id: str, number: int) -> str:
    """The id of the span of an attempt, counted from 1."""
    return _derived(8, "attempt", delivery_id, str(number))


def _derived(size: int, *parts: str) -> str:
    """Hex digits that depend on the parts alone, and are never all zero."""
    digest = blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
    return digest if digest.strip("0") else digest[:-1] + "1"
