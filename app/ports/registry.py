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
        """Return when everything that was in the registry at `since` has been read.

        `since` is of `Clock.monotonic`; None: now. One question to the broker serves all moments before it.
        """
        ...

    async def catch_up_after_reply(self) -> None:
        """Return when all that registry replies have reported has been read: they may come before the changes."""
        ...


class RegistryStore(Protocol):
    """What the registry's writer needs: to be chosen, to read commands, to write all or nothing."""

    async def start(self) -> None:
        """Join the writers' group. Raises `Unavailable`."""
        ...

    async def stop(self) -> None:
        """Leave it, within seconds."""
        ...

    async def chosen(self, directory: Directory) -> None:
        """Block until this process is the writer; then fence the predecessor and fill `directory`."""
        ...

    def is_writer(self) -> bool:
        """Whether it still is."""
        ...

    def stands_by(self) -> bool:
        """Whether it has joined, and another process was chosen."""
        ...

    def assigned_place(self) -> tuple[PartitionId, int | None] | None:
        """The partition of commands, and the offset that is read next of it; None: another process has it."""
        ...

    async def poll(self) -> Sequence[Record]:
        """The next commands; empty after a second without any."""
        ...

    async def commit(
        self,
        states: Sequence[tuple[str, bytes | None]],
        entries: Sequence[tuple[str, bytes]],
        replies: Sequence[tuple[str, bytes]],
        next_offset: int,
    ) -> None:
        """Write states, entries of the audit log (by tenant), replies and the commands' offset in one transaction.

        Raises `TooLarge` when nothing was written, because a topic refuses a record for its size; `Unavailable` when
        the outcome is unknown or another writer has taken over. Then the state in memory is not to be trusted either.
        """
        ...


class CommandSender(Protocol):
    """Ask the registry for a change."""

    async def call(
        self, action: CommandAction, *, entity: str, actor: str = "", timeout_s: float = 15.0
    ) -> CommandReply:
        """Send and wait for the writer's answer; `actor` is who asks, for the audit log.

        Raises `CommandRefused`, or `Unavailable` when nobody answers in time; the change may then still be made.
        """
        ...
