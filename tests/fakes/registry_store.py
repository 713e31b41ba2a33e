"""`app.ports.registry.RegistryStore` in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from app.core.directory import Directory
from app.core.offsets.partitions import PartitionId
from app.core.records import registry
from app.core.records.command import (
    CommandReply,
)
from tests.fakes.clock import Pulse
from tests.fakes.log import MemoryRecord


class MemoryStore:
    """A store to which a test supplies commands, and whose transactions it reads."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.replies: dict[str, CommandReply] = {}
        self.transactions: list[int] = []
        self.failure: Exception | None = None
        self.elected = asyncio.Event()
        self.elected.set()
        self.running = False
        self.elections = 0
        #: transactions wait for it
        self.gate: asyncio.Event | None = None
        self.pulse = Pulse()
        #: of the audit log: (tenant, value)
        self.entries: list[tuple[str, bytes]] = []
        self._commands: list[MemoryRecord] = []
        self._polled = 0

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def chosen(self, directory: Directory) -> None:
        await self.elected.wait()
        self.elections += 1
        self._polled = self.transactions[-1] if self.transactions else 0
        for key, value in self.states.items():
            registry.apply(directory, key, value)

    def is_writer(self) -> bool:
        return self.elected.is_set()

    def stands_by(self) -> bool:
        return self.running and not self.elected.is_set()

    def assigned_place(self) -> tuple[PartitionId, int | None] | None:
        return (("registry.commands", 0), self._polled) if self.elected.is_set() else None

    async def poll(self) -> Sequence[MemoryRecord]:
        if self._polled == len(self._commands) and self.elected.is_set():
            await self.pulse.next()
        records, self._polled = self._commands[self._polled :], len(self._commands)
        return records

    async def commit(
        self,
        states: Sequence[tuple[str, bytes | None]],
        entries: Sequence[tuple[str, bytes]],
        replies: Sequence[tuple[str, bytes]],
        next_offset: int,
    ) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.entries += entries
        for key, value in states:
            if value is None:
                del self.states[key]
            else:
                self.states[key] = value
        self.replies |= {key: msgspec.json.decode(value, type=CommandReply) for key, value in replies}
        self.transactions.append(next_offset)
        self.pulse.beat()

    def give(self, *values: bytes) -> None:
        """Supply commands, which one poll returns."""
        for value in values:
            self._commands.append(MemoryRecord("registry.commands", 0, len(self._commands), 0, b"k", value, []))
        self.pulse.beat()

    async def replied(self, *ids: str) -> list[CommandReply]:
        """Wait for the answers to these commands."""
        await self.pulse.until(lambda: set(ids) <= set(self.replies))
        return [self.replies[each] for each in ids]
