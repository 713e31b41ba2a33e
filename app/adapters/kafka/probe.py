"""Examines Kafka for `hookstream doctor`: brokers, rights by trying, the clock, the members of groups.

Rights are tried with requests that change nothing. Kafka checks a right before it looks at what a request names, so
reads and writes name a partition that no topic has, and members and transactions that do not exist: the error is
either the missing right, or that there is no such thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    for_code,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest

from app.adapters.kafka.clients import KafkaClients, stop_producer
from app.adapters.kafka.coordinators import with_coordinator
from app.adapters.kafka.metadata import topic_facts
from app.core.cluster import TopicFacts
from app.core.diagnosis.kafka import BrokerFacts, ClockReading, DeniedRight, GroupFacts
from app.ports.clock import Clock

_CLIENT = "hookstream-doctor"
#: no topic has so many partitions
_NO_PARTITION = 2**31 - 1
#: seconds for one broker's answer
_BROKER_S = 5.0
#: seconds to disconnect
_CLOSE_S = 3.0
#: milliseconds for which a broker may hold back an answer
_WAIT_MS = 100


class KafkaProbe:
    """One connection; use as an async context manager. All methods raise `Unavailable` when Kafka does not answer."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._client = clients.metadata_client(_CLIENT)
        self._admin = clients.admin(_CLIENT)

    async def __aenter__(self) -> KafkaProbe:
        try:
            async with self._clients.connecting():
                await self._client.bootstrap()
                await self._admin.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def brokers(self) -> list[BrokerFacts]:
        """Every broker under its advertised address."""

        async def facts(broker: Any) -> BrokerFacts:
            problem = None
            try:
                async with asyncio.timeout(_BROKER_S):
                    if not await self._client.ready(broker.nodeId):
                        problem = "no connection could be established"
            except TimeoutError:
                problem = f"no answer within {_BROKER_S:g} s"
            except (KafkaError, OSError) as error:
                problem = f"{type(error).__name__}: {error}"
            return BrokerFacts(id=broker.nodeId, address=f"{broker.host}:{broker.port}", problem=problem)

        return list(await asyncio.gather(*map(facts, self._client.cluster.brokers())))

    async def topics(self, names: Collection[str]) -> dict[str, TopicFacts]:
        """Those of `names` that exist."""
        with self._clients.reachable():
            return await topic_facts(self._client, names)

    async def denied_topics(
        self, reads: Collection[str], writes: Collection[str], describes: Collection[str]
    ) -> list[DeniedRight]:
        """Rights on topics that Kafka refuses: to read, to write, and to read their settings."""
        fetch = FetchRequest(_WAIT_MS, 0, 1, 1, [(name, [(_NO_PARTITION, 0, 1)]) for name in sorted(reads)])
        produce = ProduceRequest(None, -1, 5_000, [(name, [(_NO_PARTITION, b"")]) for name in sorted(writes)])
        denied: list[DeniedRight] = []
        for operation, request, names in (("Read", fetch, reads), ("Write", produce, writes)):
            if names:
                answer = await self._send(request)
                denied += [
                    DeniedRight(resource="topic", name=topic, operation=operation)
                    for topic, partitions in answer.topics
                    if _refused(partitions[0][1], TopicAuthorizationFailedError)
                ]
        return denied + [
            DeniedRight(resource="topic", name=name, operation="DescribeConfigs")
            for name in await self._without_settings(describes)
        ]

    async def _without_settings(self, names: Collection[str]) -> list[str]:
        with self._clients.reachable():
            answers = await self._admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(names)]
            )
        return [
            resource[3]
            for answer in answers
            for resource in answer.resources
            if _refused(resource[0], TopicAuthorizationFailedError)
        ]

    async def denied_groups(self, reads: Collection[str], describes: Collection[str]) -> list[DeniedRight]:
        """Rights on groups that Kafka refuses: to be a member, and to see the committed offsets."""
        denied = []
        for name in sorted(reads):
            answer = await self._send(HeartbeatRequest(name, 0, "hookstream-doctor"))
            if _refused(answer.error_code, GroupAuthorizationFailedError):
                denied.append(DeniedRight(resource="group", name=name, operation="Read"))
        for name in sorted(describes):
            answer = await self._send(OffsetFetchRequest(name, None))
            if _refused(getattr(answer, "error_code", 0), GroupAuthorizationFailedError):
                denied.append(DeniedRight(resource="group", name=name, operation="Describe"))
        return denied

    async def denied_transactions(self, groups: Mapping[str, str]) -> list[DeniedRight]:
        """Transactional ids that Kafka refuses; `groups`: id → the group whose offsets its transactions commit."""
        return [
            DeniedRight(resource="transactional-id", name=name, operation="Write")
            for name, group in sorted(groups.items())
            if _refused(
                (await self._send(AddOffsetsToTxnRequest(name, -1, -1, group))).error_code,
                TransactionalIdAuthorizationFailed,
            )
        ]

    async def groups(self, roles: Mapping[str, str]) -> list[GroupFacts]:
        """The members of groups; `roles`: role → its group."""
        with self._clients.reachable():
            answers = await asyncio.gather(*map(self._described, roles.values()))
        facts = []
        for (role, group), (answer,) in zip(roles.items(), answers, strict=True):
            _, _, state, _, _, members, *_ = answer.groups[0]
            facts.append(
                GroupFacts(role=role, group=group, state=state or "Dead", clients=tuple(each[1] for each in members))
            )
        return facts

    async def _described(self, group: str) -> Any:
        return await with_coordinator(lambda: self._admin.describe_consumer_groups([group]))

    async def clock(self, topic: str, clock: Clock) -> ClockReading:
        """Append two records without a value to `topic`, whose records carry the broker's time; the second reading.

        The first append also connects and gets a producer id.
        """
        producer = self._clients.producer(_CLIENT)
        try:
            async with self._clients.connecting():
                await producer.start()
                await producer.send_and_wait(topic, key=b"doctor", value=None)
                before_ms = clock.now_ms()
                appended = await producer.send_and_wait(topic, key=b"doctor", value=None)
                after_ms = clock.now_ms()
        finally:
            await stop_producer(producer)
        return ClockReading(before_ms=before_ms, broker_ms=appended.timestamp, after_ms=after_ms)

    async def _send(self, request: Any) -> Any:
        with self._clients.reachable():
            node, *_ = sorted(broker.nodeId for broker in self._client.cluster.brokers())
            return await self._client.send(node, request)

    async def _close(self) -> None:
        for closing in (asyncio.create_task(self._client.close()), asyncio.create_task(self._admin.close())):
            await asyncio.wait([closing], timeout=_CLOSE_S)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)


def _refused(code: int, error: type[KafkaError]) -> bool:
    return bool(code) and for_code(code) is error


def roles_without(denied: Sequence[DeniedRight], roles: Mapping[str, str]) -> dict[str, str]:
    """Those roles whose groups may be described; role → group."""
    hidden = {right.name for right in denied if right.resource == "group"}
    return {role: group for role, group in roles.items() if group not in hidden}
