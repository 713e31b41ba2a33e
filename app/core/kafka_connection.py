"""How to connect to Kafka: addresses, encryption and credentials, checked together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from msgspec import Struct

from app.core.errors import ConfigError
from app.core.secret_text import SecretText

SecurityProtocol = Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaConnection(Struct, frozen=True, kw_only=True):
    """Where Kafka is and how a client authenticates itself.

    Raises `ConfigError` with all problems at once where fields contradict each other.
    """

    #: host:port of one or more brokers, comma-separated
    bootstrap: str
    security: SecurityProtocol = "plaintext"
    #: certificate authorities that sign the brokers' certificates (PEM); None: those of the system
    ca_file: Path | None = None
    #: the client's certificate and its key (PEM), for mutual TLS
    cert_file: Path | None = None
    key_file: Path | None = None
    sasl_mechanism: SaslMechanism | None = None
    username: str | None = None
    password: SecretText | None = None

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
        if self.security not in get_args(SecurityProtocol):
            yield f"Kafka security protocol {self.security!r}: one of {', '.join(get_args(SecurityProtocol))}"
            return
        yield from self._tls_problems()
        yield from self._sasl_problems()

    def _tls_problems(self) -> Iterator[str]:
        files = {"CA file": self.ca_file, "certificate file": self.cert_file, "key file": self.key_file}
        for name, path in files.items():
            if path is not None and not self.encrypted:
                yield f"Kafka {name}: the security protocol {self.security} does not use TLS; use ssl or sasl_ssl"
            elif path is not None and not path.is_file():
                yield f"Kafka {name}: {path} is not a file"
        if (self.cert_file is None) != (self.key_file is None):
            yield "Kafka certificate file and key file must be set together"

    def _sasl_problems(self) -> Iterator[str]:
        fields = {"SASL mechanism": self.sasl_mechanism, "user name": self.username, "password": self.password}
        for name, value in fields.items():
            if value is not None and not self.authenticated:
                yield f"Kafka {name}: the security protocol {self.security} does not use SASL; use sasl_ssl"
            elif value is None and self.authenticated:
                yield f"Kafka {name}: required by the security protocol {self.security}"
        if self.sasl_mechanism is not None and self.sasl_mechanism not in get_args(SaslMechanism):
            yield f"Kafka SASL mechanism {self.sasl_mechanism!r}: one of {', '.join(get_args(SaslMechanism))}"
