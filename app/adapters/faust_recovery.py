"""Faust's table recovery, made to fail loudly, to heal a local store, and to lose no time.

Stock recovery ends its task in silence when a step exceeds its deadline: the app then waits for ever. Records reach
the tables from `BatchConsumer`, so the tasks that Faust feeds them with have nothing to do here.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import structlog
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.types import TP
from mode import Service

from app.core.errors import Unavailable

if TYPE_CHECKING:
    from app.adapters.faust_app import FaustApp

log = structlog.get_logger(__name__)


class BatchRecovery(Recovery):
    """Rebuilds `BatchTable`s from their changelogs after an assignment."""

    app: FaustApp

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        result = await self.wait_first(coro, self.signal_recovery_start, timeout=timeout)
        if self.should_stop:
            raise ServiceStopped
        if self.signal_recovery_start.is_set():
            raise RebalanceAgain
        if result.stopped:
            raise Unavailable(f"Kafka did not answer within {timeout} s while the tables were being rebuilt")

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Counter[TP], title: str) -> None:
        await super()._build_offsets(consumer, tps, destination, title)
        for tp in tps:
            if destination[tp] > self.active_highwaters[tp]:
                log.error("table.ahead_of_changelog", topic=tp.topic, partition=tp.partition, action="rebuilt")
                self.app.tables_of[tp.topic].forget(tp.partition)
                destination[tp] = -1
                await super()._build_offsets(consumer, {tp}, destination, title)

    @Service.task  # type: ignore[untyped-decorator]  # mode has no types
    async def _slurp_changelogs(self) -> None:
        return

    @Service.task  # type: ignore[untyped-decorator]  # mode has no types
    async def _publish_stats(self) -> None:
        return


class BatchTableManager(TableManager):
    """Starts recovery at once: all tables are declared before the app starts."""

    _recovery: BatchRecovery | None = None

    @property
    def recovery(self) -> BatchRecovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = BatchRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Register the changelogs, then wait for assignments."""
        await self._update_channels()
        await self.recovery.start()
