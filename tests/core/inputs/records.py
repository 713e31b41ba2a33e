"""Records and inputs for tests."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from app.core.inputs.catalog import Inputs
from app.core.inputs.declaration import read_declarations
from app.core.inputs.mapping import CompiledInput, EventLimits, MappedEvent
from app.core.inputs.record_values import InputRecord

MAX_EVENT = 65_536
LIMITS = EventLimits(MAX_EVENT, MAX_EVENT + 32_768)
#: 2026-01-31T08:00:00Z
NOW_MS = 1_769_846_400_000


def inputs(text: str, own: tuple[str, ...] = ("events.raw", "events.rejected")) -> Inputs:
    """The inputs of a file with this text below `inputs`."""
    return Inputs(read_declarations({"inputs": yaml.safe_load(text)}), LIMITS, own)


def one(text: str) -> CompiledInput:
    """The only input of a file: `text` has its fields beside its name and topic."""
    fields = yaml.safe_load(text) or {}
    (compiled,) = inputs(yaml.safe_dump([{"name": "shop", "topics": ["shop.orders"], **fields}])).compiled
    return compiled


def record(
    value: Any = None, *, key: bytes | None = None, topic: str = "shop.orders", offset: int = 7, **headers: str
) -> InputRecord:
    """A record; a value that is not bytes is written as JSON."""
    raw = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
    pairs = [(name, text.encode()) for name, text in headers.items()]
    return InputRecord(topic=topic, partition=3, offset=offset, timestamp=NOW_MS, key=key, value=raw, headers=pairs)


def event(compiled: CompiledInput, taken: InputRecord) -> MappedEvent:
    """The event of a record that becomes one."""
    mapped = compiled.event_of(taken)
    assert isinstance(mapped, MappedEvent), mapped
    return mapped


def body(mapped: MappedEvent) -> dict[str, Any]:
    """The fields of a native event."""
    decoded: dict[str, Any] = msgspec.json.decode(mapped.value or b"")
    return decoded
