"""The connections of all aiokafka clients of this process: Faust's, too.

- uvloop raises `RuntimeError` where asyncio raises `OSError`. aiokafka expects `OSError` and `KafkaError` of a
  connection. Any other error ends the task that meets it, without a message. When that is the task that refreshes a
  client's metadata, every later refresh waits for ever, and so do the group's heartbeats: a consumer that lost its
  broker at the wrong moment stood still until the process was restarted.
- A failure is explained: see `connection_problems`.
- Each connection uses the certificates and the password that are on disk when it is opened: see `tls_files` and
  `watched_file`.
- A broker ends a connection whose token has expired. Before that a connection without waiting requests closes, and
  its client opens another one, with a new token. aiokafka itself cannot authenticate a connection again (KIP-368).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Any

from aiokafka import conn
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed
from aiokafka.protocol.admin import SaslAuthenticateRequest

from app.adapters.kafka.connection_problems import ConnectionAttempt, closed_at_first_request, explain, note
from app.adapters.kafka.tls_files import TlsFiles
from app.adapters.kafka.watched_file import WatchedSecret

#: the part of the session that a broker grants after which a connection is replaced
_REPLACE_AFTER = 0.85
_LONGEST_REASON = 500


class BrokerConnection(conn.AIOKafkaConnection):
    """A connection that reports a closed transport as `KafkaConnectionError`, and why it could not be opened."""

    _ssl_context: Any
    _sasl_plain_password: Any
    _answers = 0
    _certified = False
    #: of the event loop's clock
    _replace_at_s = math.inf

    async def connect(self) -> Any:
        """Connect, and agree on versions and credentials."""
        if isinstance(self._ssl_context, TlsFiles):
            self._certified = self._ssl_context.certified
            self._ssl_context = self._ssl_context.context()
        if isinstance(self._sasl_plain_password, WatchedSecret):
            self._sasl_plain_password = self._sasl_plain_password.current()
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
            response = super().send(request, expect_response)
        except RuntimeError as error:
            raise self._lost(error) from error
        return self._authenticated(response) if isinstance(request, SaslAuthenticateRequest) else response

    def connected(self) -> bool:
        """Whether requests may be sent."""
        if not self._requests and self._loop.time() >= self._replace_at_s:
            self.close(reason=conn.CloseReason.IDLE_DROP)
        return bool(super().connected())

    def close(self, reason: Any = None, exc: Any = None) -> Any:
        """Close the connection; its waiting requests fail."""
        if (
            reason is conn.CloseReason.CONNECTION_BROKEN
            and self._answers == 1
            and self._requests
            and not self._security_protocol.startswith("SASL")
        ):
            note(closed_at_first_request(self._attempt()))
        transport = self._writer.transport if self._writer is not None else None
        closed = super().close(reason=reason, exc=exc)
        if transport is not None and self._security_protocol.endswith("SSL"):
            transport.abort()  # `close` waits up to 30 s for the broker's close_notify
        return closed

    def _handle_frame(self, resp: Any) -> None:
        self._answers += 1
        super()._handle_frame(resp)

    def _send_sasl_token(self, payload: Any, expect_response: bool = True) -> Any:
        try:
            return super()._send_sasl_token(payload, expect_response)
        except RuntimeError as error:
            raise self._lost(error) from error

    async def _authenticated(self, response: Awaitable[Any]) -> Any:
        """The broker's answer to credentials. Raises `SaslAuthenticationFailed` when it refuses a token."""
        answer = await response
        if self._sasl_mechanism == "OAUTHBEARER" and answer.error_code == 0 and answer.sasl_auth_bytes:
            # RFC 7628: the reason of a refusal, as JSON; aiokafka would take it for consent
            reason = answer.sasl_auth_bytes[:_LONGEST_REASON].decode(errors="replace")
            claims = self._sasl_oauth_token_provider.refused()
            raise SaslAuthenticationFailed(f"{reason}; the token has {claims}" if claims else reason)
        lifetime_ms = getattr(answer, "session_lifetime_ms", 0)
        if lifetime_ms > 0:
            self._replace_at_s = self._loop.time() + lifetime_ms / 1000 * _REPLACE_AFTER
        return answer

    def _lost(self, error: RuntimeError) -> KafkaConnectionError:
        self.close(reason=conn.CloseReason.CONNECTION_BROKEN, exc=error)
        return KafkaConnectionError(f"Connection to {self._host}:{self._port} lost: {error}")

    def _attempt(self) -> ConnectionAttempt:
        security = self._security_protocol.lower()
        mechanism = self._sasl_mechanism if security.startswith("sasl") else None
        credentials = self._sasl_oauth_token_provider
        return ConnectionAttempt(
            f"{self._host}:{self._port}",
            security,
            getattr(credentials, "mechanism", mechanism),
            self._sasl_plain_username,
            self._certified,
        )


def use_broker_connections() -> None:
    """Make all aiokafka clients of this process use `BrokerConnection`."""
    conn.AIOKafkaConnection = BrokerConnection
