"""Which rights Kafka refuses, by trying each with a request that changes nothing.

Kafka checks a right before it looks at what a request names, so reads and writes name a partition that no topic has,
and members and transactions that do not exist: the error is either the missing right, or that there is no such thing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, InitProducerIdRequest

from app.adapters.kafka.clients import AioClient
from app.adapters.kafka.metadata import allowed_operations, ask_any, seen_topics
from app.core.rights import KafkaRight, doubtful

#: no topic has so many partitions
_NO_PARTITION = 2**31 - 1
#: milliseconds for which a broker may hold back an answer
_WAIT_MS = 100
#: one setting of each topic suffices
_ANY_SETTING = ["cleanup.policy"]

#: the refused ones of resources with these names
_Try = Callable[[AioClient, Sequence[str]], Awaitable[Collection[str]]]


async def refused(client: AioClient, rights: Collection[KafkaRight]) -> set[KafkaRight]:
    """Those of `rights` that Kafka refuses, as far as they can be tried. Raises `KafkaError`."""
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for right in sorted(rights):
        names[right.resource, right.operation].append(right.name)
    return {
        KafkaRight(resource=resource, name=name, operation=operation)
        for (resource, operation), tried in names.items()
        if (resource, operation) in _TRIES
        for name in await _TRIES[resource, operation](client, tried)
    }


async def surely_refused(client: AioClient, rights: Collection[KafkaRight]) -> set[KafkaRight]:
    """As `refused`, without a failing request for each topic whose rights Kafka shows. Raises `KafkaError`."""
    topics = sorted({right.name for right in rights if right.resource == "topic"})
    shown = await allowed_operations(client, topics)
    return await refused(client, doubtful(rights, shown.allowed, shown.hidden))


async def _unreadable(client: AioClient, topics: Sequence[str]) -> Collection[str]:
    return await _refused_topics(
        client, FetchRequest(_WAIT_MS, 0, 1, 1, [(name, [(_NO_PARTITION, 0, 1)]) for name in topics])
    )


async def _unwritable(client: AioClient, topics: Sequence[str]) -> Collection[str]:
    return await _refused_topics(client, ProduceRequest(None, -1, 5_000, [(n, [(_NO_PARTITION, b"")]) for n in topics]))


async def _refused_topics(client: AioClient, request: Any) -> Collection[str]:
    answer = await ask_any(client, request)
    return [
        topic for topic, partitions in answer.topics if _is_refused(partitions[0][1], TopicAuthorizationFailedError)
    ]


async def _hidden(client: AioClient, topics: Sequence[str]) -> Collection[str]:
    return (await seen_topics(client, topics)).hidden


async def _without_settings(client: AioClient, topics: Sequence[str]) -> Collection[str]:
    asked = [(int(ConfigResourceType.TOPIC), name, _ANY_SETTING) for name in topics]
    answer = await ask_any(client, DescribeConfigsRequest(asked))
    return [name for code, _, _, name, *_ in answer.resources if _is_refused(code, TopicAuthorizationFailedError)]


async def _closed_groups(client: AioClient, groups: Sequence[str]) -> Collection[str]:
    """Groups of which we may not be a member."""
    answers = {name: await ask_any(client, HeartbeatRequest(name, 0, "hookstream")) for name in groups}
    return [name for name, each in answers.items() if _is_refused(each.error_code, GroupAuthorizationFailedError)]


async def _hidden_groups(client: AioClient, groups: Sequence[str]) -> Collection[str]:
    """Groups whose committed offsets we may not see."""
    answers = {name: await ask_any(client, OffsetFetchRequest(name, [])) for name in groups}
    return [
        name
        for name, answer in answers.items()
        if _is_refused(getattr(answer, "error_code", 0), GroupAuthorizationFailedError)
    ]


async def _refused_transactions(client: AioClient, ids: Sequence[str]) -> Collection[str]:
    answers = {name: await ask_any(client, AddOffsetsToTxnRequest(name, -1, -1, name)) for name in ids}
    return [name for name, each in answers.items() if _is_refused(each.error_code, TransactionalIdAuthorizationFailed)]


async def _idempotence_refused(client: AioClient, clusters: Sequence[str]) -> Collection[str]:
    answer = await ask_any(client, InitProducerIdRequest(None, 0))
    return clusters if _is_refused(answer.error_code, ClusterAuthorizationFailedError) else ()


def _is_refused(code: int, error: type[KafkaError]) -> bool:
    return bool(code) and for_code(code) is error


_TRIES: Mapping[tuple[str, str], _Try] = {
    ("topic", "Describe"): _hidden,
    ("topic", "DescribeConfigs"): _without_settings,
    ("topic", "Read"): _unreadable,
    ("topic", "Write"): _unwritable,
    ("group", "Describe"): _hidden_groups,
    ("group", "Read"): _closed_groups,
    ("transactional-id", "Write"): _refused_transactions,
    ("cluster", "IdempotentWrite"): _idempotence_refused,
}
