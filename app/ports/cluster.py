"""The state of the cluster and of this process for the operator's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    """One of Hookstream's topics."""

    name: str
    #: None: the topic does not exist
    partitions: int | None
    replication: int | None
    #: records ever appended: the sum of the end offsets of its partitions
    records: int
    #: differences from its declaration, one sentence each
    drift: Sequence[str] = ()


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """One of Hookstream's consumer groups on one topic."""

    group: str
    topic: str
    #: Stable, Empty, PreparingRebalance …
    state: str
    #: records between the committed offsets and the ends
    lag: int
    #: member → its partitions
    members: Mapping[str, Sequence[int]] = {}


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """Topics and groups at one moment."""

    topics: Sequence[TopicState]
    groups: Sequence[GroupState]
    at_ms: int


class ClusterInspector(Protocol):
    """Inspects the cluster and this process."""

    async def cluster(self) -> ClusterState:
        """Query Kafka. Raises `Unavailable`."""
        ...

    def readiness(self) -> Mapping[str, str | None]:
        """Role of this process → None if it is ready, otherwise the reason why it is not."""
        ...
