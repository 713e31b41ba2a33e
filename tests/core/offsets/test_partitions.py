"""A group member's partitions: what is committed of them."""

from __future__ import annotations

from app.core.offsets.partitions import CommittedOffset, OpenPartitions

PLACE = ("deliveries", 0)


def test_markers_are_committed_like_records() -> None:
    changes: list[None] = []
    partitions = OpenPartitions(lambda: changes.append(None))
    partitions.add({PLACE: CommittedOffset(3, "")})
    partitions.read_to({PLACE: 5}.get)
    assert partitions.commits() == {PLACE: (5, "")}
    assert changes, "nobody would commit it"


def test_a_partition_with_only_transaction_markers_gets_a_commit() -> None:
    partitions = OpenPartitions(lambda: None)
    partitions.add({PLACE: CommittedOffset(None, "")})
    partitions.read_to({PLACE: 0}.get)
    assert partitions.commits() == {}, "nothing is there"
    partitions.read_to({PLACE: 2}.get)
    assert partitions.commits() == {PLACE: (2, "")}


def test_an_unknown_position_changes_nothing() -> None:
    partitions = OpenPartitions(lambda: None)
    partitions.add({PLACE: CommittedOffset(3, "")})
    partitions.committed({PLACE: (3, "")})
    partitions.read_to(lambda place: None)
    assert partitions.commits() == {}
