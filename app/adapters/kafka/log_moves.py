"""Detect logs that have moved under a consumer group, and commit the offset at which the group continues."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from app.adapters.kafka.clients import AioConsumer
from app.adapters.kafka.internals import read_position
from app.adapters.kafka.metadata import topic_facts
from app.core.errors import LogMoved
from app.core.offsets.log_moves import LogMove, judge, stamp

logger = structlog.get_logger(__name__)

_ANSWER_S = 10.0


async def _ids(consumer: AioConsumer, topics: Collection[str]) -> dict[str, str]:
    """Topic → its id, as far as the brokers report it within `_ANSWER_S`."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            facts = await topic_facts(consumer._client, topics)
    except (KafkaError, TimeoutError, OSError) as error:
        logger.info("source.ids_unknown", error=repr(error))
        return {}
    return {name: each.id for name, each in facts.items()}


class GroupLogs:
    """Tracks whether the logs that a group member reads are still those whose offsets it remembers."""

    def __init__(self, consumer: AioConsumer, metadata: str = "") -> None:
        """`metadata`: of the commit at which reading of a moved log continues."""
        self._consumer = consumer
        self._metadata = metadata
        #: topic → its id at the last assignment
        self._ids: dict[str, str] = {}
        #: the ids of the logs in which our positions were reached, as far as the brokers report them
        self._origins: dict[TopicPartition, str] = {}
        #: nothing more is committed for these: the offset to continue at is committed already
        self.moved: set[TopicPartition] = set()
        #: partitions whose positions are stored outside Kafka, and may stem from another cluster
        self.elsewhere: set[TopicPartition] = set()

    async def assigned(self, committed: Mapping[TopicPartition, tuple[int | None, str]]) -> LogMoved | None:
        """`committed`: partition → (committed offset, topic id in its metadata). Returns the recreated logs among them,
        after committing where to continue; None if there are none.
        """
        self._ids |= await _ids(self._consumer, {place.topic for place in committed})
        recreated = {}
        for place, (offset, origin) in committed.items():
            now = self._ids.get(place.topic, "")
            self._origins[place] = origin
            if offset is not None and origin and now and origin != now:
                recreated[place] = offset
        return await self.lost(recreated) if recreated else None

    def read(self, places: Collection[TopicPartition]) -> None:
        """Records of these partitions have arrived, so their positions belong to the topics' current ids."""
        for place in places:
            self._origins[place] = self._ids.get(place.topic, "")

    def stamp(self, topic: str, metadata: str) -> str:
        """The metadata for a commit: `metadata` and the topic's id."""
        return stamp(self._ids.get(topic, ""), metadata)

    async def lost(self, positions: Mapping[TopicPartition, int]) -> LogMoved:
        """Judge positions that cannot be read, and commit where the group continues. Returns all moves."""
        positions = self._all_positions() | dict(positions)  # the other logs may have moved, too
        ids = await _ids(self._consumer, {place.topic for place in positions})
        async with asyncio.timeout(_ANSWER_S):
            begins = await self._consumer.beginning_offsets(list(positions))
            ends = await self._consumer.end_offsets(list(positions))
        moves: dict[TopicPartition, LogMove] = {}
        for place, position in positions.items():
            before, now = self._origins.get(place, ""), ids.get(place.topic, "")
            move = judge(position, int(begins[place]), int(ends[place]), same=before == now if before and now else None)
            if move is not None:
                moves[place] = move
                problem = move.sentence(place.topic, place.partition)
                logger.error("log.moved", kind=move.kind, position=position, goes_on_at=move.resume, problem=problem)
        self.moved |= moves.keys()
        await self._commit(
            {
                place: (move.resume, ids.get(place.topic, ""))
                for place, move in moves.items()
                if not (move.kind == "shorter" and place in self.elsewhere)
            }
        )
        return LogMoved({(place.topic, place.partition): move for place, move in moves.items()})

    def _all_positions(self) -> dict[TopicPartition, int]:
        places = self._consumer.assignment() & self._origins.keys()
        positions = {place: read_position(self._consumer, place) for place in places}
        return {place: position for place, position in positions.items() if position is not None}

    async def _commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                if offsets:
                    await self._consumer.commit(
                        {
                            place: OffsetAndMetadata(offset, stamp(log_id, self._metadata))
                            for place, (offset, log_id) in offsets.items()
                        }
                    )
        except (KafkaError, TimeoutError) as error:  # the next start detects the same moves
            logger.warning("log.move_not_committed", error=repr(error))
