"""Examines Kafka for `hookstream doctor`: brokers, rights by trying, the clock, the members of groups."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any

from aiokafka.errors import KafkaError

from app.adapters.kafka.admin import actual_topics
from app.adapters.kafka.clients import AioClient, KafkaClients, stop_producer
from app.adapters.kafka.coordinators import with_coordinator
from app.adapters.kafka.group_description import GroupDescription, describe_group
from app.adapters.kafka.metadata import topic_facts
from app.adapters.kafka.rights import refused
from app.core.cluster import TopicFacts
from app.core.diagnosis.kafka import BrokerFacts, ClockReading, GroupFacts
from app.core.rights import KafkaRight
from app.core.topics.declarations import Topics
from app.core.topics.drift import ActualTopic
from app.ports.clock import Clock

_CLIENT = "hookstream-doctor"
#: seconds for one broker's answer
_BROKER_S = 5.0
#: seconds to disconnect
_CLOSE_S = 3.0


class KafkaProbe:
    """One connection; use as an async context manager. All methods raise `Unavailable` when Kafka does not answer."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._admin = clients.admin(_CLIENT)
        self._client: AioClient = self._admin._client

    async def __aenter__(self) -> KafkaProbe:
        try:
            async with self._clients.connecting():
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

    async def actual(self, topics: Topics) -> dict[str, ActualTopic]:
        """Partitions, replication and settings of those `topics` that exist."""
        with self._clients.reachable():
            return await actual_topics(self._admin, topics)

    async def refused(self, rights: Collection[KafkaRight]) -> set[KafkaRight]:
        """Those of `rights` that Kafka refuses, by trying."""
        with self._clients.reachable():
            return await refused(self._client, rights)

    async def groups(self, roles: Mapping[str, str]) -> list[GroupFacts]:
        """The members of groups; `roles`: role → its group."""
        with self._clients.reachable():
            described = await asyncio.gather(*map(self._described, roles.values()))
        return [
            GroupFacts(role=role, group=group, state=each.state, clients=tuple(m.client_id for m in each.members))
            for (role, group), each in zip(roles.items(), described, strict=True)
        ]

    async def _described(self, group: str) -> GroupDescription:
        return await with_coordinator(lambda: describe_group(self._admin, group))

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

    async def _close(self) -> None:
        closing = asyncio.create_task(self._admin.close())
        await asyncio.wait([closing], timeout=_CLOSE_S)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


def roles_without(denied: Collection[KafkaRight], roles: Mapping[str, str]) -> dict[str, str]:
    """Those roles whose groups may be described; role → group."""
    hidden = {right.name for right in denied if right.resource == "group"}
    return {role: group for role, group in roles.items() if group not in hidden}
