"""Where a process listens for the API."""

from __future__ import annotations


class Address:
    """Where the API listens; a restart of the role keeps the port that it had."""

    def __init__(self, host: str, port: int, *, elsewhere: bool) -> None:
        self.host = host
        self.port = port
        #: the port was not asked for: if it is taken, any free one will do
        self.elsewhere = elsewhere
