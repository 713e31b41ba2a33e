"""How to connect to Kafka: addresses, encryption and credentials, checked together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from app.core.errors import ConfigError
from app.core.secret_text import SecretText

SECURITY_PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")

#: name of the setting of a field
_SETTING = "HOOKSTREAM_KAFKA_{}"
_SECURITY = _SETTING.format("SECURITY")


class KafkaConnection(Struct, frozen=True, kw_only=True):
    """Where Kafka is and how a client authenticates itself.

    Raises `ConfigError` with all problems at once where fields contradict each other. The problems name settings.
    """

    #: fields that are settings of the same name
    SETTINGS: ClassVar = ("security", "ca_file", "cert_file", "key_file", "sasl_mechanism", "username", "password")

    #: host:port of one or more brokers, comma-separated
    bootstrap: str
    #: one of `SECURITY_PROTOCOLS`
    security: str = "plaintext"
    #: certificate authorities that sign the brokers' certificates (PEM); None: those of the system
    ca_file: Path | None = None
    #: the client's certificate and its key (PEM), for mutual TLS
    cert_file: Path | None = None
    key_file: Path | None = None
    #: one of `SASL_MECHANISMS`
    sasl_mechanism: str | None = None
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
        if self.security not in SECURITY_PROTOCOLS:
            yield f"{_SECURITY}: {self.security!r} is not one of {', '.join(SECURITY_PROTOCOLS)}"
            return
        yield from self._tls_problems()
        yield from self._sasl_problems()

    def _tls_problems(self) -> Iterator[str]:
        for name in ("ca_file", "cert_file", "key_file"):
            path: Path | None = getattr(self, name)
            setting = _SETTING.format(name.upper())
            if path is not None and not self.encrypted:
                yield f"{setting}: {_SECURITY}={self.security} does not use TLS; set ssl or sasl_ssl there"
            elif path is not None and not path.is_file():
                yield f"{setting}: {path} is not a file"
        if (self.cert_file is None) != (self.key_file is None):
            yield f"{_SETTING.format('CERT_FILE')}: goes together with {_SETTING.format('KEY_FILE')}"

    def _sasl_problems(self) -> Iterator[str]:
        for name in ("sasl_mechanism", "username", "password"):
            setting = _SETTING.format(name.upper())
            value = getattr(self, name)
            if value is not None and not self.authenticated:
                yield f"{setting}: {_SECURITY}={self.security} does not use SASL; set sasl_ssl there"
            elif value is None and self.authenticated:
                yield f"{setting}: required by {_SECURITY}={self.security}"
        if self.sasl_mechanism is not None and self.sasl_mechanism not in SASL_MECHANISMS:
            setting = _SETTING.format("SASL_MECHANISM")
            yield f"{setting}: {self.sasl_mechanism!r} is not one of {', '.join(SASL_MECHANISMS)}"
