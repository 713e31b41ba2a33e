"""A producer's duplicate is dropped; an accepted record that is read again never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.records.idempotency_entry import MAX_RECORDS, AcceptedRecord, decode, encode
from app.roles.fanout.idempotency import DuplicateKey, NewKey, Redelivery, decide

TTL = 100
ACCEPTED = AcceptedRecord(partition=2, offset=10, timestamp_ms=1000, sequence=7)
#: (key, milliseconds since the record before)
Log = list[tuple[str, int]]


def test_a_key_never_seen_is_accepted() -> None:
    assert decide(None, 2, 10, 1000, TTL) == NewKey(())


@pytest.mark.parametrize(
    ("partition", "offset", "timestamp", "answer"),
    [
        (2, 10, 1000, Redelivery(ACCEPTED)),
        (2, 10, 9999, Redelivery(ACCEPTED)),  # the record itself, whatever the clock says
        (2, 11, 1000, DuplicateKey(ACCEPTED)),
        (2, 11, 1099, DuplicateKey(ACCEPTED)),
        (2, 11, 1100, NewKey((ACCEPTED,))),  # the window is over
        (2, 11, 900, DuplicateKey(ACCEPTED)),  # a producer's clock that went back
        (2, 9, 1000, NewKey((ACCEPTED,))),  # an earlier record of the log, replayed
        (3, 10, 1000, DuplicateKey(ACCEPTED)),  # offsets of other partitions do not compare; time does
        (3, 5, 1099, DuplicateKey(ACCEPTED)),
        (3, 99, 999, NewKey((ACCEPTED,))),
        (3, 99, 1100, NewKey((ACCEPTED,))),
    ],
)
def test_a_record_is_new_a_redelivery_or_a_duplicate(
    partition: int, offset: int, timestamp: int, answer: object
) -> None:
    assert decide(encode((ACCEPTED,)), partition, offset, timestamp, TTL) == answer


def test_a_key_used_again_after_the_window_keeps_both_records() -> None:
    later = AcceptedRecord(2, 20, 5000, 8)
    first = decide(encode((ACCEPTED,)), 2, 20, 5000, TTL)
    assert isinstance(first, NewKey)
    stored = first.with_record(later)
    assert decide(stored, 2, 10, 1000, TTL) == Redelivery(ACCEPTED)
    assert decide(stored, 2, 15, 1050, TTL) == DuplicateKey(ACCEPTED)
    assert decide(stored, 2, 20, 5000, TTL) == Redelivery(later)
    assert decide(stored, 2, 21, 5050, TTL) == DuplicateKey(later)


def test_one_record_takes_at_most_64_bytes() -> None:
    largest = AcceptedRecord(2**32 - 1, 2**63 - 1, 2**63 - 1, 2**63 - 1)
    assert len(encode((largest,))) <= 64
    assert decode(encode((largest,))) == (largest,)


def test_the_oldest_records_leave_first() -> None:
    stored = b""
    for number in range(MAX_RECORDS + 3):
        first = decide(stored, 0, number, number * TTL, TTL)
        assert isinstance(first, NewKey)
        stored = first.with_record(AcceptedRecord(0, number, number * TTL, number))
    assert [each.offset for each in decode(stored)] == list(range(3, MAX_RECORDS + 3))


@pytest.mark.parametrize("stored", [b"", b"\x02" + encode((ACCEPTED,))[1:], encode((ACCEPTED,))[:-1], b"{}"])
def test_a_value_of_an_unknown_version_counts_as_nothing_stored(stored: bytes) -> None:
    assert decide(stored, 2, 11, 1000, TTL) == NewKey(())


NUMBER = st.integers(0, 2**63 - 1)


@given(st.lists(st.builds(AcceptedRecord, st.integers(0, 2**32 - 1), NUMBER, NUMBER, NUMBER), max_size=5).map(tuple))
def test_stored_records_can_be_read_back(records: tuple[AcceptedRecord, ...]) -> None:
    assert decode(encode(records)) == records


def answers(log: Log, table: dict[str, bytes], begin: int) -> list[int]:
    """What each record from `begin` on comes to: its sequence, or 0 for a dropped one."""
    sequences, clock = [], 1000
    sequence = sum(len(decode(stored)) for stored in table.values())
    for offset, (key, elapsed) in enumerate(log):
        clock += elapsed
        if offset < begin:
            continue
        match decide(table.get(key), 0, offset, clock, TTL):
            case Redelivery(accepted=accepted):
                sequences.append(accepted.sequence)
            case DuplicateKey():
                sequences.append(0)
            case NewKey() as first:
                sequence += 1
                table[key] = first.with_record(AcceptedRecord(0, offset, clock, sequence))
                sequences.append(sequence)
    return sequences


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-TTL // 2, TTL)), min_size=1, max_size=MAX_RECORDS),
    st.data(),
)
def test_rereading_the_log_from_any_offset_gives_the_same_decisions(log: Log, data: st.DataObject) -> None:
    table: dict[str, bytes] = {}
    once = answers(log, table, 0)
    assert sorted(number for number in once if number) == list(range(1, max(once) + 1))
    begin = data.draw(st.integers(0, len(log) - 1))
    final = dict(table)
    assert answers(log, table, begin) == once[begin:]
    assert table == final
