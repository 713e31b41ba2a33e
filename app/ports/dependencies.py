"""The external systems that a process depends on: Kafka, the database, the mail server, DNS, the egress proxy, the
schema registry."""

from __future__ import annotations

from typing import Protocol


class Dependency(Protocol):
    """Whether one of them answers. Its users report the outcome of each use; only changes are logged."""

    def up(self) -> None:
        """Report an answer."""
        ...

    def down(self, reason: str) -> None:
        """Report that it does not answer or cannot be used; `reason` is one line."""
        ...

    @property
    def trouble(self) -> str | None:
        """The latest reason while it is down; None while it is up, and before its first use."""
        ...
