"""Consumer groups from outside: their members and offsets, and the reset of a group without members."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError

from app.adapters.kafka.clients import KafkaClients
from app.adapters.kafka.coordinators import with_coordinator
from app.adapters.kafka.group_description import describe_group
from app.adapters.kafka.scan import places_of
from app.core.errors import CommandRefused
from app.core.offsets.resets import OffsetReset, PartitionOffsets

_CLIENT = "hookstream-cli"


class GroupStanding(msgspec.Struct, frozen=True, kw_only=True):
    """A group, and where it stands in each partition of its topics."""

    group: str
    #: as Kafka has it: Empty, Stable, PreparingRebalance, …
    state: str
    #: client id and host of each member
    members: tuple[str, ...]
    partitions: tuple[PartitionOffsets, ...]


class KafkaGroups:
    """Reads and resets groups; `opened` connects."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._admin = clients.admin(_CLIENT)
        self._reader = clients.consumer(_CLIENT)

    @classmethod
    @asynccontextmanager
    async def opened(cls, clients: KafkaClients) -> AsyncIterator[Self]:
        """Connect; every call raises `Unavailable` where Kafka does not answer."""
        groups = cls(clients)
        with clients.reachable():
            try:
                async with clients.connecting():
                    await groups._admin.start()
                    await groups._reader.start()
                yield groups
            finally:
                await groups._reader.stop()
                await groups._admin.close()

    async def standing(self, group: str, topics: Sequence[str]) -> GroupStanding:
        """Where a group stands. Raises `ConfigError` where a topic does not exist."""
        places = await places_of(self._reader, topics)
        begins, ends = await self._reader.beginning_offsets(places), await self._reader.end_offsets(places)
        committed = await with_coordinator(lambda: self._admin.list_consumer_group_offsets(group))
        described = await with_coordinator(lambda: describe_group(self._admin, group))
        return GroupStanding(
            group=group,
            state=described.state,
            members=tuple(f"{each.client_id} {each.host}" for each in described.members),
            partitions=tuple(
                PartitionOffsets(
                    topic=place.topic,
                    partition=place.partition,
                    committed=_offset(committed.get(place)),
                    begin=int(begins[place]),
                    end=int(ends[place]),
                )
                for place in places
            ),
        )

    async def committed_topics(self, group: str) -> set[str]:
        """The topics of which a group has committed offsets."""
        committed = await with_coordinator(lambda: self._admin.list_consumer_group_offsets(group))
        return {place.topic for place in committed}

    async def at(self, topics: Sequence[str], timestamp_ms: int) -> dict[tuple[str, int], int]:
        """(topic, partition) → the first offset with that time or a later one; the end of the log where none has."""
        places = await places_of(self._reader, topics)
        ends = await self._reader.end_offsets(places)
        firsts = await self._reader.offsets_for_times(dict.fromkeys(places, timestamp_ms))
        return {
            (place.topic, place.partition): int(ends[place] if firsts[place] is None else firsts[place].offset)
            for place in places
        }

    async def reset(self, group: str, changes: Sequence[OffsetReset]) -> None:
        """Commit the targets, without our mark, so that fan-out takes it for a reset.

        Raises `CommandRefused` when the group has members.
        """
        offsets = {TopicPartition(each.topic, each.partition): (each.target, "") for each in changes}
        member = self._clients.consumer(_CLIENT, group=group)
        try:
            async with self._clients.connecting():
                await member.start()
            member.assign(list(offsets))
            await member.commit(offsets)
        except CommitFailedError as error:
            raise CommandRefused("conflict", f"the group {group} has members") from error
        finally:
            await member.stop()


def _offset(commit: Any) -> int | None:
    return int(commit.offset) if commit is not None and commit.offset >= 0 else None
