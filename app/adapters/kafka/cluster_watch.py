"""Check every few seconds whether Kafka is reachable and has our topics; `/readyz` reports the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from aiokafka.errors import KafkaError

from app.adapters.kafka.clients import AioClient, KafkaClients
from app.adapters.kafka.connection_problems import explanations
from app.adapters.kafka.metadata import seen_topics
from app.adapters.kafka.rights_watch import RightsWatch
from app.core.cluster import Expected, Findings
from app.ports.clock import Clock
from app.ports.dependencies import Dependency

logger = structlog.get_logger(__name__)

_EVERY_S = 3.0
#: timeout of one query, in seconds
_ANSWER_S = 4.0
#: seconds without an answer after which Kafka counts as down; a restart of a broker takes less
_DOWN_S = 5.0
_CLOSE_S = 2.0
#: the rights are checked with every third look, and with each one while some seem to be missing
_RIGHTS_EVERY = 3


class ClusterWatch:
    """Runs beside the roles, on a connection of its own."""

    def __init__(
        self,
        clients: KafkaClients,
        counts: Mapping[str, int],
        kafka: Dependency,
        clock: Clock,
        rights: RightsWatch,
        on_recreated: Callable[[str], None] = lambda topic: None,
    ) -> None:
        """`counts`: topic → its partitions at the start. `on_recreated` is called for each recreated topic."""
        self._on_recreated = on_recreated
        self._clients = clients
        self._topics = sorted(counts)
        self._expected = Expected(counts)
        self._kafka = kafka
        self._clock = clock
        self._rights = rights
        self._looks = 0
        self._client: AioClient | None = None
        self._findings = Findings(None, None)

    def readiness(self) -> dict[str, str | None]:
        """For `/readyz`: None, or why nothing can be delivered at present."""
        return {"kafka": self._kafka.trouble or self._findings.leaders, "topics": self._findings.topics}

    async def run(self) -> None:
        """Query the cluster until cancelled."""
        answered_s = self._clock.monotonic()
        try:
            while True:
                failure = await self._look()
                if failure is None:
                    answered_s = self._clock.monotonic()
                    self._kafka.up()
                elif self._clock.monotonic() - answered_s > _DOWN_S:
                    self._kafka.down(failure)
                await self._clock.sleep(_EVERY_S)
        finally:
            await self._close()

    async def _look(self) -> str | None:
        """One query. Returns None, or a sentence why it failed."""
        with explanations() as explained:
            failure = await self._ask()
        if failure is None:
            return None
        await self._close()
        return self._clients.trouble(failure, *explained)

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                seen = await seen_topics(await self._connected(), self._topics)
        except TimeoutError:
            failure = f"not within {_ANSWER_S:.0f} s"
        except (KafkaError, OSError) as error:
            failure = f"{type(error).__name__}: {error}"
        except Exception as error:  # otherwise the process would silently stop watching
            logger.exception("cluster.failed")
            failure = repr(error)
        else:
            self._note(self._expected.compare(seen.facts, seen.hidden))
            await self._check_rights()
            return None
        return failure

    async def _check_rights(self) -> None:
        self._looks += 1
        if self._client is not None and (self._looks % _RIGHTS_EVERY == 0 or self._rights.urgent):
            await self._rights.look(self._client)

    def _note(self, findings: Findings) -> None:
        for before, now in zip(self._findings[:2], findings[:2], strict=True):
            if now != before:
                logger.error("cluster.problem", problem=now) if now else logger.warning(
                    "cluster.recovered", problem=before
                )
        self._findings = findings
        for topic in findings.recreated:
            logger.error("cluster.topic_recreated", topic=topic)
            self._on_recreated(topic)

    async def _connected(self) -> AioClient:
        if self._client is None:
            client = self._client = self._clients.metadata_client("hookstream-cluster")
            await client.bootstrap()
        return self._client

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            closing = asyncio.create_task(client.close())
            await asyncio.wait([closing], timeout=_CLOSE_S)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
