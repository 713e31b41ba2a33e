"""Compiled filters, by content, and what they decide about one event.

An event that cannot be judged is delivered: its data has numbers beyond what can be compared, or an evaluation would
examine too many array elements. A receiver can ignore an event, but it cannot recover one that was never sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.core.errors import MalformedEvent
from app.core.filters.conditions import ElementCount, FailedCondition, TooManyElements
from app.core.filters.parsing import ParsedFilter, parse

#: compiled filters in memory: bytes of their JSON, and endpoints that have them
_MOST_BYTES = 4 * 1024 * 1024
_MOST_ENTRIES = 20_000
#: steps that compiling a comparison costs, in comparisons that are evaluated
_COMPILING = 20

JsonFilter = Mapping[str, Any]


class CompiledFilters:
    """Compiles a filter once, however many endpoints have an equal one."""

    def __init__(self) -> None:
        self._by_content: dict[bytes, ParsedFilter] = {}
        #: id of a filter's object → that object, so that the id stays its own, and the compiled filter
        self._by_identity: dict[int, tuple[JsonFilter, ParsedFilter]] = {}
        self._bytes = 0
        #: steps that compiling has cost so far
        self.steps = 0

    def of(self, filter_: JsonFilter) -> ParsedFilter:
        """The compiled filter."""
        entry = self._by_identity.get(id(filter_))
        if entry is not None:
            return entry[1]
        content = msgspec.json.encode(filter_, order="sorted")
        compiled = self._by_content.get(content)
        if self._bytes > _MOST_BYTES or len(self._by_identity) >= _MOST_ENTRIES:
            self._by_content.clear()
            self._by_identity.clear()
            self._bytes = 0
        if compiled is None:
            compiled = parse(filter_)
            self.steps += compiled.size * _COMPILING
        if content not in self._by_content:
            self._by_content[content] = compiled
            self._bytes += len(content)
        self._by_identity[id(filter_)] = filter_, compiled
        return compiled


class EventVerdicts:
    """What filters decide about one event. The event is decoded when the first filter needs it."""

    def __init__(self, filters: CompiledFilters, read: Callable[[], Mapping[str, Any]]) -> None:
        """`read` returns the fields of the event; `MalformedEvent`: they cannot be compared."""
        self._filters = filters
        self._read = read
        self._fields: Mapping[str, Any] | None = None
        self._is_read = False
        #: id of a compiled filter → that filter and whether it accepts the event
        self._accepted: dict[int, tuple[ParsedFilter, bool]] = {}
        self._steps = 0
        self._compiling = filters.steps

    @property
    def steps(self) -> int:
        """What all evaluations have cost so far: comparisons, and array elements that were examined."""
        return self._steps + self._filters.steps - self._compiling

    def accepts(self, filter_: JsonFilter) -> bool:
        """Whether an endpoint with this filter gets the event."""
        compiled = self._filters.of(filter_)
        answer = self._accepted.get(id(compiled))
        if answer is None:
            answer = self._accepted[id(compiled)] = compiled, self._evaluate(compiled)
        return answer[1]

    def failure(self, filter_: JsonFilter) -> FailedCondition | None:
        """The first condition of the filter that the event does not meet; None: it is accepted."""
        compiled = self._filters.of(filter_)
        if self.accepts(filter_) or compiled.root is None:
            return None
        return compiled.root.failure(self._fields, "", ElementCount())

    def _evaluate(self, compiled: ParsedFilter) -> bool:
        if not self._is_read:
            self._is_read = True
            try:
                self._fields = self._read()
            except MalformedEvent:
                self._fields = None
        if self._fields is None or compiled.root is None:
            return True
        count = ElementCount()
        try:
            return compiled.root.matches(self._fields, count)
        except TooManyElements:
            return True
        finally:
            self._steps += compiled.size + count.examined
