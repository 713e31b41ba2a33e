"""The TLS context of Kafka connections, made again when the files change on disk."""

from __future__ import annotations

import ssl
from pathlib import Path

import structlog

from app.adapters.kafka.watched_file import FileStamp, stamp
from app.core.errors import ConfigError
from app.core.kafka_connection import KafkaConnection

logger = structlog.get_logger(__name__)

_Stamps = tuple[FileStamp, ...]


class TlsFiles:
    """Certificate authorities, certificate and key. Each new connection asks for `context`."""

    def __init__(self, connection: KafkaConnection) -> None:
        """Raises `ConfigError` when the files cannot be used."""
        self._connection = connection
        #: whether the client has a certificate
        self.certified = connection.cert_file is not None
        self._stamps = self._look()
        try:
            self._context = self._load()
        except (OSError, ValueError) as error:
            raise ConfigError([f"Kafka's TLS files ({self._names()}) cannot be used: {error}"]) from error

    def context(self) -> ssl.SSLContext:
        """A context that verifies brokers' certificates and host names.

        It is loaded again after a change of the files. Files that do not fit each other, as in the middle of a
        replacement, are logged, and the former context stays in use until they change again.
        """
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._context = self._load()
            except (OSError, ValueError) as error:
                logger.error(
                    "kafka.tls_files_unusable", files=self._names(), error=str(error), action="use former ones"
                )
            else:
                logger.warning("kafka.tls_files_reloaded", files=self._names())
        return self._context

    def subject(self) -> str | None:
        """The name in the client's certificate, as Kafka writes it; None if there is none that can be read."""
        from cryptography import x509

        if self._connection.cert_file is None:
            return None
        try:
            return x509.load_pem_x509_certificate(self._connection.cert_file.read_bytes()).subject.rfc4514_string()
        except (OSError, ValueError):
            return None

    def _load(self) -> ssl.SSLContext:
        connection = self._connection
        context = ssl.create_default_context(cafile=connection.ca_file)
        if connection.cert_file is not None:
            # without a password OpenSSL would ask for that of an encrypted key on the terminal
            context.load_cert_chain(connection.cert_file, connection.key_file, password="")
        return context

    def _look(self) -> _Stamps:
        return tuple(stamp(path) for path in self._paths())

    def _paths(self) -> list[Path]:
        files = (self._connection.ca_file, self._connection.cert_file, self._connection.key_file)
        return [path for path in files if path is not None]

    def _names(self) -> str:
        return ", ".join(map(str, self._paths())) or "those of the system"
