"""How to connect to Kafka: addresses, encryption and credentials, checked together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from app.core.errors import ConfigError
from app.core.kafka_sasl import CREDENTIALS, sasl_problems, setting
from app.core.secret_text import SecretText

SECURITY_PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")

_SECURITY = setting("security")


class KafkaConnection(Struct, frozen=True, kw_only=True):
    """Where Kafka is and how a client authenticates itself.

    Raises `ConfigError` with all problems at once where fields contradict each other. The problems name settings.
    """

    #: fields that are settings of the same name
    SETTINGS: ClassVar = ("security", "ca_file", "cert_file", "key_file", "sasl_mechanism", *CREDENTIALS)

    #: host:port of one or more brokers, comma-separated
    bootstrap: str
    #: one of `SECURITY_PROTOCOLS`
    security: str = "plaintext"
    #: certificate authorities that sign the brokers' certificates (PEM); None: those of the system
    ca_file: Path | None = None
    #: the client's certificate and its key (PEM), for mutual TLS
    cert_file: Path | None = None
    key_file: Path | None = None
    #: one of `app.core.kafka_sasl.SASL_MECHANISMS`
    sasl_mechanism: str | None = None
    #: of PLAIN and SCRAM
    username: str | None = None
    password: SecretText | None = None
    #: of OAUTHBEARER: the authorization server's token endpoint and this client's credentials there
    oauth_token_url: str | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: SecretText | None = None
    oauth_scope: str | None = None
    #: certificate authorities of the token endpoint (PEM); None: those of the system
    oauth_ca_file: Path | None = None
    #: a file with a token, in place of a token endpoint
    oauth_token_file: Path | None = None
    #: SASL extensions, each as name=value
    oauth_extensions: tuple[str, ...] = ()
    #: of AWS_MSK_IAM
    aws_region: str | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems)

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.security in ("ssl", "sasl_ssl")

    @property
    def authenticated(self) -> bool:
        """Whether the client authenticates itself with SASL."""
        return self.security in ("sasl_plaintext", "sasl_ssl")

    def _problems(self) -> Iterator[str]:
        if self.security not in SECURITY_PROTOCOLS:
            yield f"{_SECURITY}: {self.security!r} is not one of {', '.join(SECURITY_PROTOCOLS)}"
            return
        yield from self._tls_problems()
        values = {name: getattr(self, name) for name in ("sasl_mechanism", *CREDENTIALS)}
        yield from sasl_problems(values, security=self.security)

    def _tls_problems(self) -> Iterator[str]:
        for name in ("ca_file", "cert_file", "key_file"):
            path: Path | None = getattr(self, name)
            if path is not None and not self.encrypted:
                yield f"{setting(name)}: {_SECURITY}={self.security} does not use TLS; set ssl or sasl_ssl there"
            elif path is not None and not path.is_file():
                yield f"{setting(name)}: {path} is not a file"
        if (self.cert_file is None) != (self.key_file is None):
            yield f"{setting('cert_file')}: goes together with {setting('key_file')}"
