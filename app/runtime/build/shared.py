"""Where a process listens for the API."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.settings import Settings


class Address:
    """Where the API listens; a restart of the role keeps the port that it had."""

    def __init__(self, host: str, port: int, *, elsewhere: bool) -> None:
        self.host = host
        self.port = port
        #: the port was not asked for: if it is taken, any free one will do
        self.elsewhere = elsewhere


def ports_of(settings: Settings, bootstrap: str) -> set[int]:
    """The ports of Kafka and of the database."""
    ports = {int(server.rpartition(":")[2]) for server in bootstrap.split(",") if ":" in server}
    url = urlsplit(settings.database_url.reveal()) if settings.database_url else None
    if url is not None and url.scheme.startswith("postgres"):
        ports.add(url.port or 5432)
    return ports
