"""What the operator's page shows of the cluster and of this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of ours."""

    name: str
    #: None: it does not exist
    partitions: int | None
    replication: int | None
    #: what it holds and has ever held: the sum of its ends
    records: int
    #: in one sentence each, what is not as it should be
    drift: Sequence[str] = ()


class GroupState(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer group of ours on one topic."""

    group: str
    topic: str
    #: Stable, Empty, PreparingRebalance …
    state: str
    #: records that are not finished
    lag: int
    #: member → its partitions
    members: Mapping[str, Sequence[int]] = {}


class ClusterState(msgspec.Struct, frozen=True, kw_only=True):
    """Topics and groups at one moment."""

    topics: Sequence[TopicState]
    groups: Sequence[GroupState]
    at_ms: int


class ClusterInspector(Protocol):
    """Look at the cluster and at this process."""

    async def cluster(self) -> ClusterState:
        """Asks Kafka. Raises `Unavailable`."""
        ...

    def readiness(self) -> Mapping[str, str | None]:
        """For each role of this process None, or why it would not act on a new event."""
        ...
