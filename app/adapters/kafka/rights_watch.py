"""Check whether the roles of a process still have their rights on Kafka; the log names each change once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog
from aiokafka.errors import KafkaError

from app.adapters.kafka.clients import AioClient, KafkaClients
from app.adapters.kafka.rights import surely_refused
from app.core.rights import KafkaRight, missing_by_role, refusal

logger = structlog.get_logger(__name__)

#: seconds for one check
_ANSWER_S = 4.0


class RightsWatch:
    """What each role needs, and which of it Kafka refuses."""

    def __init__(
        self,
        clients: KafkaClients,
        needed: Mapping[str, Collection[KafkaRight]],
        on_readable: Callable[[str], None] = lambda role: None,
    ) -> None:
        """`needed`: role → its rights. `on_readable` is called for a role that may read and join its group again."""
        self._clients = clients
        self._needed = needed
        self._on_readable = on_readable
        self._all = frozenset().union(*needed.values())
        self._missing: dict[str, frozenset[KafkaRight]] = {}
        self._failed = False
        self._suspected = False

    @property
    def urgent(self) -> bool:
        """Whether the next check should come soon: a role lacks a right, or has failed as if it did."""
        return bool(self._missing) or self._suspected

    def suspect(self) -> None:
        """A request was refused: ask for a check soon."""
        self._suspected = True

    def obstacle(self, role: str) -> str | None:
        """Why a role should not be started at present; None: it can be."""
        return self.trouble(role) or ("the rights on Kafka are being checked" if self._suspected else None)

    def trouble(self, role: str) -> str | None:
        """Why a role cannot work with its rights, and the command that grants those that it lacks; None if it can."""
        return self._sentence(role, [right for right in self._missing.get(role, ()) if right.essential])

    def lacking(self, rights: Collection[KafkaRight]) -> str | None:
        """As `trouble`, for the first role that lacks some of these rights."""
        for role, missing in self._missing.items():
            if (sentence := self._sentence(role, missing & frozenset(rights))) is not None:
                return sentence
        return None

    async def check(self) -> None:
        """One check on a connection of its own. Raises `Unavailable`."""
        client = self._clients.metadata_client("hookstream-rights")
        try:
            async with self._clients.connecting():
                await client.bootstrap()
            await self.look(client)
        finally:
            await client.close()

    async def look(self, client: AioClient) -> None:
        """One check, which ends a suspicion in any case.

        Without an answer, the result of the last one holds: `ClusterWatch` reports outages.
        """
        try:
            async with asyncio.timeout(_ANSWER_S):
                refused = await surely_refused(client, self._all)
        except (KafkaError, OSError, TimeoutError) as error:
            logger.debug("rights.unknown", error=repr(error))
        except Exception as error:  # otherwise an answer that cannot be read would count as an outage
            if self._failed:
                logger.debug("rights.failed", error=repr(error))
            else:
                logger.exception("rights.failed")
            self._failed = True
        else:
            self._note(missing_by_role(self._needed, refused))
        finally:
            self._suspected = False

    def _note(self, missing: dict[str, frozenset[KafkaRight]]) -> None:
        before, self._missing = self._missing, missing
        for role in self._needed:
            lacks = missing.get(role, frozenset())
            if lacks == before.get(role, frozenset()):
                continue
            if _cannot_read(before.get(role, ())) and not _cannot_read(lacks):
                self._on_readable(role)
            if not lacks:
                logger.warning("rights.complete", role=role)
            elif any(right.essential for right in lacks):
                logger.error("rights.missing", role=role, problem=self._sentence(role, lacks))
            else:
                logger.warning("rights.incomplete", role=role, problem=self._sentence(role, lacks))

    def _sentence(self, role: str, rights: Collection[KafkaRight]) -> str | None:
        return refusal(self._clients.user, role, rights) if rights else None


def _cannot_read(missing: Collection[KafkaRight]) -> bool:
    return any(right.essential and right.operation != "Write" for right in missing)
