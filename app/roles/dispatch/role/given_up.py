"""Deliveries that are dead, as lines of the log: one for each reason and ten seconds, with a number and an example."""

from __future__ import annotations

import structlog

from app.core.model.delivery import Delivery
from app.core.sampling import Tallied
from app.ports.clock import Clock

log = structlog.get_logger(__name__)

_EVERY_S = 10.0


class GivenUp:
    """Gathers them; the role runs it beside its work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tallied = Tallied()

    def note(self, delivery: Delivery, reason: str, result: str) -> None:
        """A delivery is dead."""
        self._tallied.note(
            reason, delivery=delivery.id, endpoint=delivery.endpoint_id, tenant=delivery.tenant, result=result
        )

    async def run(self) -> None:
        """Write lines until cancelled."""
        try:
            while True:
                await self._clock.sleep(_EVERY_S)
                self._write()
        finally:
            self._write()

    def _write(self) -> None:
        for reason, count, example in self._tallied.taken():
            log.info("deliveries.given_up", reason=reason, count=count, example=example)
