"""The directory of this process, and the way to change the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from app.core.directory import Directory
from app.core.offsets.partitions import PartitionId
from app.core.records.command import CommandAction, CommandReply
from app.ports.consumer import Record


class DirectoryFeed(Protocol):
    """The directory of this process, which follows the registry topic."""

    @property
    def directory(self) -> Directory:
        """The directory as far as it has been read."""
        ...

    @property
    def position(self) -> int:
        """The offset up to which the registry has been read."""
        ...

    async def catch_up(self, since: float | None = None) -> None:
        """Return when every record appended before `since` (`Clock.monotonic`; None: now) has been read.

        Concurrent calls share one query to the broker.
        """
        ...

    async def catch_up_after_reply(self) -> None:
        """Return when every change that a registry reply has reported so far has been read.

        A reply may be visible before its change.
        """
        ...


class RegistryStore(Protocol):
    """The log of the registry's single writer: election, commands, and atomic writes."""

    async def start(self) -> None:
        """Join the writers' group. Raises `Unavailable`."""
        ...

    async def stop(self) -> None:
        """Leave the group, within seconds."""
        ...

    async def chosen(self, directory: Directory) -> None:
        """Wait until this process is the writer; then fence its predecessor and fill `directory`."""
        ...

    def is_writer(self) -> bool:
        """Whether this process is still the writer."""
        ...

    def stands_by(self) -> bool:
        """Whether this process has joined the group and another one is the writer."""
        ...

    def assigned_place(self) -> tuple[PartitionId, int | None] | None:
        """The partition of commands and its next offset to read; None if another process owns it."""
        ...

    async def poll(self) -> Sequence[Record]:
        """The next commands; empty if none arrives within a second."""
        ...

    async def commit(
        self,
        states: Sequence[tuple[str, bytes | None]],
        entries: Sequence[tuple[str, bytes]],
        replies: Sequence[tuple[str, bytes]],
        next_offset: int,
    ) -> None:
        """Write states, entries of the audit log (by tenant), replies and the commands' offset in one transaction.

        Raises `RecordTooLarge` when nothing was written because a record exceeds its topic's maximum size. Raises
        `Unavailable` when the outcome is unknown or another writer has taken over; discard the state in memory then.
        """
        ...


class CommandSender(Protocol):
    """Sends commands to the registry."""

    async def call(
        self, action: CommandAction, *, entity: str, actor: str = "", timeout_s: float = 15.0
    ) -> CommandReply:
        """Send a command and wait for the reply. `actor` names the user in the audit log.

        Raises `CommandRefused`, or `Unavailable` when no reply arrives in time; the command may still be applied.
        """
        ...
