"""A consumer group as its coordinator describes it."""

from __future__ import annotations

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code
from msgspec import Struct

from app.adapters.kafka.clients import AioAdmin


class GroupMember(Struct, frozen=True, kw_only=True):
    """One client that has joined a group."""

    id: str
    client_id: str
    host: str
    #: topic → partitions
    assigned: dict[str, list[int]]


class GroupDescription(Struct, frozen=True, kw_only=True):
    """The state of a group, and its members."""

    #: as Kafka has it: Dead (there is no such group), Empty, Stable, PreparingRebalance, …
    state: str
    members: tuple[GroupMember, ...]


async def describe_group(admin: AioAdmin, group: str) -> GroupDescription:
    """Ask the coordinator. Raises `KafkaError`, also where the right to describe the group is missing."""
    (answer,) = await admin.describe_consumer_groups([group])
    code, _, state, _, _, members, *_ = answer.groups[0]
    if code:
        raise for_code(code)(group)
    return GroupDescription(
        state=state,
        members=tuple(
            GroupMember(id=id_, client_id=client_id, host=host.strip("/"), assigned=_assigned(assignment))
            for id_, client_id, host, _, assignment, *_ in members
        ),
    )


def _assigned(assignment: bytes) -> dict[str, list[int]]:
    pairs = ConsumerProtocolMemberAssignment.decode(assignment).assignment if assignment else []
    return {topic: sorted(partitions) for topic, partitions in pairs}
