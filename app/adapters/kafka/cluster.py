"""The state of topics and consumer groups for the operator's page; queried only while the page is open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiokafka import TopicPartition

from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.clients import AioAdmin, KafkaClients
from app.adapters.kafka.group_description import describe_group
from app.adapters.kafka.metadata import topic_facts
from app.adapters.kafka.offsets import preload_metadata
from app.core.topics.declarations import Topics
from app.core.topics.drift import ActualTopic, plan
from app.ports.clock import Clock
from app.ports.cluster import ClusterState, GroupState, TopicState


class KafkaClusterInspector:
    """`app.ports.cluster.ClusterInspector`; connects for each query."""

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        groups: Mapping[str, Sequence[str]],
        clock: Clock,
        readiness: Callable[[], Mapping[str, str | None]],
    ) -> None:
        """`groups`: consumer group → its topics."""
        self._clients = clients
        self._topics = topics
        self._groups = groups
        self._clock = clock
        self.readiness = readiness

    async def cluster(self) -> ClusterState:
        """See `app.ports.cluster.ClusterInspector`."""
        async with KafkaAdmin(self._clients) as admin:
            actual = await admin.actual(self._topics)
        client = self._clients.admin("hookstream-operations")
        reader = self._clients.consumer("hookstream-operations")
        with self._clients.reachable():
            await client.start()
            try:
                await reader.start()
                places = [
                    TopicPartition(name, number) for name, each in actual.items() for number in range(each.partitions)
                ]
                foreign = {name for names in self._groups.values() for name in names} - actual.keys()
                facts = await topic_facts(reader._client, foreign) if foreign else {}
                places += [
                    TopicPartition(name, number) for name, each in facts.items() for number in range(each.partitions)
                ]
                preload_metadata(reader, places)
                ends = await reader.end_offsets(places)
                group_rows = await asyncio.gather(
                    *(self._group(client, *group, ends) for group in self._groups.items())
                )
            finally:
                await reader.stop()
                await client.close()
        groups = [row for rows in group_rows for row in rows]
        return ClusterState(topics=self._topic_rows(actual, ends), groups=groups, at_ms=self._clock.now_ms())

    def _topic_rows(self, actual: Mapping[str, ActualTopic], ends: Mapping[TopicPartition, int]) -> list[TopicState]:
        drift: dict[str, list[str]] = {}
        for step in plan(self._topics, dict(actual)):
            sentence = step.sentence()
            for name in self._topics.all_names():
                if name in sentence.split():
                    drift.setdefault(name, []).append(sentence)
        rows = []
        for name in sorted(self._topics.all_names()):
            there = actual.get(name)
            rows.append(
                TopicState(
                    name=name,
                    partitions=there.partitions if there else None,
                    replication=there.replication if there else None,
                    drift=drift.get(name, []),
                    records=sum(end for place, end in ends.items() if place.topic == name),
                )
            )
        return rows

    async def _group(
        self, client: AioAdmin, group: str, names: Sequence[str], ends: Mapping[TopicPartition, int]
    ) -> list[GroupState]:
        committed = await client.list_consumer_group_offsets(group)
        described = await describe_group(client, group)
        rows = []
        for name in names:
            mine = {
                f"{each.client_id} {each.host} {each.id[-6:]}": each.assigned[name]
                for each in described.members
                if name in each.assigned
            }
            lag = sum(
                end - max(0, committed[place].offset)
                for place, end in ends.items()
                if place.topic == name and place in committed
            )
            rows.append(GroupState(group=group, topic=name, state=described.state, lag=lag, members=mine))
        return rows
