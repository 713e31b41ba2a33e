"""Log lines about dead deliveries: one for each reason and ten seconds, with a count and an example."""

from __future__ import annotations

import structlog

from app.core.model.delivery import Delivery
from app.core.sampling import Tallied
from app.ports.clock import Clock

logger = structlog.get_logger(__name__)

_EVERY_S = 10.0


class DeadLetterLog:
    """Counts dead deliveries. The role runs it beside its work."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tallied = Tallied()

    def note(self, delivery: Delivery, reason: str, result: str) -> None:
        """Count a dead delivery."""
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
            logger.info("deliveries.given_up", reason=reason, count=count, example=example)
