"""Ids, partitions and leaders of topics. aiokafka's own metadata request is too old to return ids."""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.errors import KafkaError
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

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: Any) -> Any:
        """The request in the newest version that the broker supports; version 10 returns ids."""
        if request_struct_class is _Struct:
            return _Struct([(_NO_ID, name, {}) for name in self._topics], False, False, False, {})
        return request_struct_class(list(self._topics))


async def topic_facts(client: AioClient, topics: Collection[str]) -> dict[str, TopicFacts]:
    """The existing ones of `topics`, as seen by the first broker that answers. Raises `KafkaError`."""
    failure: Exception = KafkaError("no broker is known")
    for broker in client.cluster.brokers():
        try:
            answer = await client.send(broker.nodeId, _Request(topics))
        except KafkaError as error:
            failure = error
        else:
            topic_facts = (_facts(topic) for topic in answer.to_object()["topics"])
            return {name: facts for name, facts in topic_facts if facts.partitions}
    raise failure


def _facts(topic: dict[str, Any]) -> tuple[str, TopicFacts]:
    id_ = topic.get("topic_id", _NO_ID)
    partitions = topic["partitions"] or []
    dark = tuple(sorted(each["partition"] for each in partitions if each["leader"] < 0))
    return topic["topic"], TopicFacts("" if id_ == _NO_ID else id_.hex, len(partitions), dark)
