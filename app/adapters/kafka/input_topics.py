"""Which topics of the cluster inputs read, with their partitions; looked up again every minute."""

from __future__ import annotations

import asyncio

import structlog
from aiokafka.errors import KafkaError

from app.adapters.kafka.clients import AioClient, KafkaClients
from app.core.inputs.catalog import Inputs
from app.ports.clock import Clock

logger = structlog.get_logger(__name__)

_EVERY_S = 60.0
_ANSWER_S = 10.0


async def matching_topics(client: AioClient, inputs: Inputs) -> dict[str, int]:
    """Topic → its partitions, for all topics that inputs read, as far as Kafka shows them. Raises `KafkaError`."""
    cluster = await client.fetch_all_metadata()
    return {
        topic: len(cluster.partitions_for_topic(topic) or ())
        for topic in sorted(cluster.topics(exclude_internal_topics=True))
        if inputs.of(topic) is not None
    }


async def existing_input_topics(clients: KafkaClients, inputs: Inputs) -> dict[str, int]:
    """As `matching_topics`, on a connection of its own. Raises `Unavailable`."""
    client = clients.metadata_client("hookstream-inputs")
    with clients.reachable():
        try:
            async with clients.connecting():
                await client.bootstrap()
                return await matching_topics(client, inputs)
        finally:
            await client.close()


class InputTopicWatch:
    """Runs beside the role `intake`."""

    def __init__(self, clients: KafkaClients, inputs: Inputs, clock: Clock) -> None:
        self._clients = clients
        self._inputs = inputs
        self._clock = clock
        #: sorted; the same list for ever, whose content changes
        self.names: list[str] = []
        self._partitions: dict[str, int] = {}
        #: a sentence for each topic that is missing
        self.warnings: list[str] = []

    def partitions(self, topic: str) -> int | None:
        """The number of partitions of one of `names`; None for another topic."""
        return self._partitions.get(topic)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            client = self._clients.metadata_client("hookstream-inputs")
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await client.bootstrap()
                    self._note(await matching_topics(client, self._inputs))
            except (KafkaError, OSError, TimeoutError) as error:
                logger.debug("inputs.unknown", error=repr(error))  # ClusterWatch reports the outage
            except Exception:  # otherwise new topics would silently have no lag
                logger.exception("inputs.failed")
            finally:
                await client.close()
            await self._clock.sleep(_EVERY_S)

    def _note(self, there: dict[str, int]) -> None:
        warnings = self._inputs.unmatched(there)
        for sentence in warnings:
            if sentence not in self.warnings:
                logger.warning("inputs.missing_topic", problem=sentence)
        self._partitions, self.names[:], self.warnings = there, there, warnings
