"""Ids, partitions and leaders of topics, and our rights on them.

aiokafka's own metadata request is too old to return ids and rights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v1
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from app.adapters.kafka.clients import AioClient
from app.core.cluster import TopicFacts
from app.core.errors import ConfigError
from app.core.rights import operations_in

_NO_ID = UUID(int=0)


class _Uuid(AbstractType):
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        """16 bytes."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        """16 bytes."""
        return UUID(bytes=data.read(16))


class _Response(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Struct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("topics", CompactArray(("id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Request(Request[MetadataRequest_v1 | _Struct]):
    API_KEY = 3

    def __init__(self, topics: Collection[str], *, operations: bool) -> None:
        self._topics = topics
        self._operations = operations

    def build(self, request_struct_class: Any) -> Any:
        """The request in the newest version that the broker supports; version 10 returns ids and operations.

        The old version asks for all topics, because it would create those that it names.
        """
        if request_struct_class is _Struct:
            return _Struct([(_NO_ID, name, {}) for name in self._topics], False, False, self._operations, {})
        return request_struct_class(None)


class SeenTopics(NamedTuple):
    """What the cluster shows of topics."""

    facts: dict[str, TopicFacts]
    #: those without the right Describe, whether they exist or not
    hidden: frozenset[str]


class AllowedOperations(NamedTuple):
    """What the cluster says about rights on topics."""

    #: topic → the operations that are allowed; None: the brokers are too old, or do not say
    allowed: dict[str, frozenset[str] | None]
    #: those without the right Describe, whether they exist or not
    hidden: frozenset[str]


async def ask_any(client: AioClient, request: Any) -> Any:
    """The answer of the first broker that answers. Raises `KafkaError`."""
    failure: Exception = KafkaError("no broker is known")
    for broker in sorted(client.cluster.brokers(), key=lambda each: each.nodeId):
        try:
            return await client.send(broker.nodeId, request)
        except KafkaError as error:
            failure = error
    raise failure


async def seen_topics(client: AioClient, topics: Collection[str]) -> SeenTopics:
    """The existing ones of `topics`, and those that are hidden. Raises `KafkaError`."""
    answers = await _ask(client, topics)
    facts = {name: _facts(topic) for name, topic in answers.items()}
    return SeenTopics({name: each for name, each in facts.items() if each.partitions}, _hidden(answers))


def missing_topics(names: Iterable[str]) -> ConfigError:
    """The error for topics that do not exist."""
    return ConfigError([f"topic {name} does not exist: run `hookstream topics apply`" for name in names])


async def topic_facts(client: AioClient, topics: Collection[str]) -> dict[str, TopicFacts]:
    """The existing ones of `topics`. Raises `KafkaError`."""
    return (await seen_topics(client, topics)).facts


async def allowed_operations(client: AioClient, topics: Collection[str]) -> AllowedOperations:
    """The operations that we may carry out on `topics`; those that do not exist are left out. Raises `KafkaError`."""
    answers = await _ask(client, topics, operations=True)
    return AllowedOperations(
        {
            name: operations_in(topic.get("authorized_operations", 0))
            for name, topic in answers.items()
            if not topic["error_code"]
        },
        _hidden(answers),
    )


async def _ask(client: AioClient, topics: Collection[str], *, operations: bool = False) -> dict[str, dict[str, Any]]:
    answer = await ask_any(client, _Request(topics, operations=operations))
    return {topic["topic"]: topic for topic in answer.to_object()["topics"] if topic["topic"] in topics}


def _hidden(answers: Mapping[str, dict[str, Any]]) -> frozenset[str]:
    refused = TopicAuthorizationFailedError.errno
    return frozenset(name for name, topic in answers.items() if topic["error_code"] == refused)


def _facts(topic: dict[str, Any]) -> TopicFacts:
    id_ = topic.get("topic_id", _NO_ID)
    partitions = topic["partitions"] or []
    dark = tuple(sorted(each["partition"] for each in partitions if each["leader"] < 0))
    return TopicFacts("" if id_ == _NO_ID else id_.hex, len(partitions), dark)
