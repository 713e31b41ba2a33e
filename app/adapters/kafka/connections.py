"""aiokafka's connections on uvloop, which raises `RuntimeError` where asyncio raises `OSError`.

aiokafka expects `OSError` and `KafkaError` of a connection. Any other error ends the task that meets it, without a
message. When that is the task that refreshes a client's metadata, every later refresh waits for ever, and so do the
group's heartbeats: a consumer that lost its broker at the wrong moment stood still until the process was restarted.
"""

from __future__ import annotations

from typing import Any

from aiokafka import conn
from aiokafka.errors import KafkaConnectionError


class UvloopConnection(conn.AIOKafkaConnection):
    """A connection that reports a closed transport as `KafkaConnectionError`."""

    async def connect(self) -> Any:
        """Connect, and agree on versions and credentials."""
        try:
            return await super().connect()
        except RuntimeError as error:
            raise self._lost(error) from error

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Send a request; awaiting the result gives the response."""
        try:
            return super().send(request, expect_response)
        except RuntimeError as error:
            raise self._lost(error) from error

    def _send_sasl_token(self, payload: Any, expect_response: bool = True) -> Any:
        try:
            return super()._send_sasl_token(payload, expect_response)
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> KafkaConnectionError:
        self.close(reason=conn.CloseReason.CONNECTION_BROKEN, exc=error)
        return KafkaConnectionError(f"Connection to {self._host}:{self._port} lost: {error}")


def use_uvloop_connections() -> None:
    """Make all aiokafka clients of this process use `UvloopConnection`."""
    conn.AIOKafkaConnection = UvloopConnection
