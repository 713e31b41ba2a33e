"""A header name that is not UTF-8: its record is read, and those before and behind it, each once."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords

from app.adapters.kafka.internals import _PartitionRecords, _Records

PLACE = TopicPartition("t", 0)


class Name:
    """A header's name as other clients write it."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def encode(self, _: str) -> bytes:
        return self._raw


def batch(first: int, odd: int | None, codec: int) -> bytes:
    """Four records from an offset on; the one numbered `odd` has a header name that is no text."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, False, -1, -1, -1, 100_000)
    for number in range(4):
        headers: Any = [(Name(b"gr\xf6\xdfe"), b"x"), ("b", None)] if number == odd else [("plain", b"y")]
        builder.append(number, None, b"k", b"%d" % (first + number), headers)
    made = bytearray(builder.build())
    made[:8] = first.to_bytes(8, "big")
    return bytes(made)


def rest_of(kind: Any, records: Any, start: int) -> Any:
    return kind(PLACE, records, None, start, None, None, True, 0)


def test_stock_aiokafka_stops_at_such_a_header_name() -> None:
    reading = rest_of(PartitionRecords, MemoryRecords(batch(0, 1, 0)), 0)
    assert next(reading).value == b"0"
    with pytest.raises(UnicodeDecodeError):
        next(reading)


@pytest.mark.parametrize("codec", [0, 1])
@pytest.mark.parametrize("start", [0, 5, 6])
def test_every_record_is_read_once(codec: int, start: int) -> None:
    data = (batch(0, None, codec) if start < 4 else b"") + batch(4, 1, codec) + batch(8, 3, codec)
    records = list(rest_of(_PartitionRecords, _Records(data), start))
    assert [(record.offset, record.value) for record in records] == [(n, b"%d" % n) for n in range(start, 12)]
    headers = {record.offset: record.headers for record in records}
    assert headers[11] == (("gr\\xf6\\xdfe", b"x"), ("b", None)) and headers[10] == (("plain", b"y"),)
