"""The connections of all aiokafka clients of this process: Faust's, too.

- uvloop raises `RuntimeError` where asyncio raises `OSError`. aiokafka expects `OSError` and `KafkaError` of a
  connection. Any other error ends the task that meets it, without a message. When that is the task that refreshes a
  client's metadata, every later refresh waits for ever, and so do the group's heartbeats: a consumer that lost its
  broker at the wrong moment stood still until the process was restarted.
- A failure is explained: see `connection_problems`.
- Each connection uses the certificates that are on disk when it is opened: see `tls_files`.
"""

from __future__ import annotations

from typing import Any

from aiokafka import conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from app.adapters.kafka.connection_problems import ConnectionAttempt, closed_at_first_request, explain, note
from app.adapters.kafka.tls_files import TlsFiles


class BrokerConnection(conn.AIOKafkaConnection):
    """A connection that reports a closed transport as `KafkaConnectionError`, and why it could not be opened."""

    _ssl_context: Any
    _answers = 0
    _certified = False

    async def connect(self) -> Any:
        """Connect, and agree on versions and credentials."""
        if isinstance(self._ssl_context, TlsFiles):
            self._certified = self._ssl_context.certified
            self._ssl_context = self._ssl_context.context()
        try:
            return await super().connect()
        except (KafkaError, OSError, EOFError, ValueError) as error:
            explanation = await explain(self._attempt(), error)
            if explanation is None:
                raise
            note(explanation)
            raise KafkaConnectionError(explanation) from error
        except RuntimeError as error:  # a base class of KafkaError
            raise self._lost(error) from error

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Send a request; awaiting the result gives the response."""
        try:
            return super().send(request, expect_response)
        except RuntimeError as error:
            raise self._lost(error) from error

    def close(self, reason: Any = None, exc: Any = None) -> Any:
        """Close the connection; its waiting requests fail."""
        if (
            reason is conn.CloseReason.CONNECTION_BROKEN
            and self._answers == 1
            and self._requests
            and not self._security_protocol.startswith("SASL")
        ):
            note(closed_at_first_request(self._attempt()))
        return super().close(reason=reason, exc=exc)

    def _handle_frame(self, resp: Any) -> None:
        self._answers += 1
        super()._handle_frame(resp)

    def _send_sasl_token(self, payload: Any, expect_response: bool = True) -> Any:
        try:
            return super()._send_sasl_token(payload, expect_response)
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> KafkaConnectionError:
        self.close(reason=conn.CloseReason.CONNECTION_BROKEN, exc=error)
        return KafkaConnectionError(f"Connection to {self._host}:{self._port} lost: {error}")

    def _attempt(self) -> ConnectionAttempt:
        security = self._security_protocol.lower()
        mechanism = self._sasl_mechanism if security.startswith("sasl") else None
        return ConnectionAttempt(
            f"{self._host}:{self._port}", security, mechanism, self._sasl_plain_username, self._certified
        )


def use_broker_connections() -> None:
    """Make all aiokafka clients of this process use `BrokerConnection`."""
    conn.AIOKafkaConnection = BrokerConnection
