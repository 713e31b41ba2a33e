"""The recorded records of Debezium; see README.md in this folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

_FOLDER = Path(__file__).parent


class RecordedRecord(msgspec.Struct):
    """A record, as a worker of Kafka Connect has written it."""

    topic: str
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def recorded(name: str) -> list[RecordedRecord]:
    """The records of a file, in the order in which Debezium wrote them."""
    lines = (_FOLDER / f"{name}.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=RecordedRecord) for line in lines]
