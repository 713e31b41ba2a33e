"""The credentials of Kafka connections, as aiokafka and Faust take them."""

from __future__ import annotations

from typing import Any

from app.adapters.kafka.msk_token import MskToken
from app.adapters.kafka.tls_files import TlsFiles
from app.adapters.kafka.token_endpoint import TokenEndpoint
from app.adapters.kafka.tokens import CachedToken, FileToken, TokenSource
from app.adapters.kafka.watched_file import WatchedSecret
from app.core.kafka_connection import KafkaConnection
from app.ports.clock import Clock


class KafkaCredentials:
    """One password, or one source of tokens, for all clients of a process."""

    def __init__(self, connection: KafkaConnection, clock: Clock) -> None:
        """Raises `ConfigError` when the library of the mechanism is not installed."""
        self._connection = connection
        self._password = WatchedSecret(connection.password) if connection.password else None
        self._tokens = _tokens(connection, clock)

    def aiokafka(self) -> dict[str, Any]:
        """The options of a client."""
        connection = self._connection
        if not connection.authenticated:
            return {}
        if self._tokens is not None:
            return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": self._tokens}
        return {
            "sasl_mechanism": connection.sasl_mechanism,
            "sasl_plain_username": connection.username,
            "sasl_plain_password": self._password,
        }

    def faust(self, tls: TlsFiles | None) -> Any:
        """The credentials of a Faust app; None for plaintext."""
        import faust

        connection = self._connection
        if not connection.authenticated:
            return faust.SSLCredentials(context=tls) if tls is not None else None
        if self._tokens is not None:
            from faust.auth import OAuthCredentials

            return OAuthCredentials(oauth_cb=self._tokens, ssl_context=tls)
        return faust.SASLCredentials(
            username=connection.username,
            password=self._password,
            mechanism=connection.sasl_mechanism,
            ssl_context=tls,
        )


def _tokens(connection: KafkaConnection, clock: Clock) -> TokenSource | None:
    extensions = dict(each.split("=", 1) for each in connection.oauth_extensions)
    if connection.sasl_mechanism == "OAUTHBEARER":
        if connection.oauth_token_file is not None:
            return FileToken(connection.oauth_token_file, clock, extensions)
        return CachedToken("OAUTHBEARER", TokenEndpoint(connection, clock).obtain, clock, extensions)
    if connection.aws_region is not None:
        return CachedToken("AWS_MSK_IAM", MskToken(connection.aws_region).obtain, clock)
    return None
