"""What the process needs of others: Kafka, the database, the mail server, DNS."""

from __future__ import annotations

from typing import Protocol


class Dependency(Protocol):
    """Whether one of them answers. Whoever uses it reports each outcome; only changes are logged."""

    def up(self) -> None:
        """It has answered."""
        ...

    def down(self, reason: str) -> None:
        """It does not answer, or cannot be used; `reason` in one line."""
        ...

    @property
    def trouble(self) -> str | None:
        """The last reason while it is down; None: it is up, or has not been used yet."""
        ...
