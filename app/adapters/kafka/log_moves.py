"""Find out where a log that has moved is now, and commit the offset from which the group goes on."""

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
    """Topic → its id, where the brokers say it within time."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            facts = await topic_facts(consumer._client, topics)
    except (KafkaError, TimeoutError, OSError) as error:
        logger.info("source.ids_unknown", error=repr(error))
        return {}
    return {name: each.id for name, each in facts.items()}


class GroupLogs:
    """The logs that a member of a group reads, and whether they still are those that it has begun."""

    def __init__(self, consumer: AioConsumer, metadata: str = "") -> None:
        """`metadata` is that of the commit from which a moved log goes on."""
        self._consumer = consumer
        self._metadata = metadata
        #: of the topics as they were at the last assignment
        self._ids: dict[str, str] = {}
        #: the ids of the logs in which our positions were reached, as far as the brokers report them
        self._origins: dict[TopicPartition, str] = {}
        #: for these nothing more is committed: where to go on is committed already
        self.moved: set[TopicPartition] = set()
        #: whose positions are stored elsewhere: perhaps they are those of another Kafka
        self.elsewhere: set[TopicPartition] = set()

    async def assigned(self, committed: Mapping[TopicPartition, tuple[int | None, str]]) -> LogMoved | None:
        """These are read from now on: (committed offset, id in its metadata). What has happened to some meanwhile."""
        self._ids |= await _ids(self._consumer, {place.topic for place in committed})
        remade = {}
        for place, (offset, origin) in committed.items():
            now = self._ids.get(place.topic, "")
            self._origins[place] = origin
            if offset is not None and origin and now and origin != now:
                remade[place] = offset
        return await self.lost(remade) if remade else None

    def read(self, places: Collection[TopicPartition]) -> None:
        """Records of these have come, so that they are the logs whose ids we know."""
        for place in places:
            self._origins[place] = self._ids.get(place.topic, "")

    def stamp(self, topic: str, metadata: str) -> str:
        """The metadata of a commit."""
        return stamp(self._ids.get(topic, ""), metadata)

    async def lost(self, positions: Mapping[TopicPartition, int]) -> LogMoved:
        """These positions cannot be read: commit from where the group goes on; what has happened."""
        positions = self._all_positions() | dict(positions)  # what has moved one log has moved others, perhaps
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
        except (KafkaError, TimeoutError) as error:  # then the next start finds the same
            logger.warning("log.move_not_committed", error=repr(error))
