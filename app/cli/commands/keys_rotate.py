"""`hookstream keys rotate`: seal all signing secrets with the first key of the ring."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from app.cli.connect import process_context
from app.cli.terminal.output import OutputFormat, OutputOption, show_one
from app.core.errors import CommandRefused, ConfigError
from app.core.records.command import ResealSubjectKeys, UpdateEndpoint
from app.core.resealing import RingUse, resealed, resealed_auth, resealed_headers, resealed_keys

if TYPE_CHECKING:
    from app.cli.connect.registry_session import RegistrySession
    from app.core.model.endpoint import Endpoint

app = typer.Typer()

#: commands that wait for their reply at the same time
_AT_ONCE = 32
#: endpoints between two lines of progress
_PROGRESS = 500
#: how often an endpoint that others change at the same moment is tried
_TRIES = 3
#: failures that are named
_SHOWN = 5


@app.command("rotate")
def rotate(output: OutputOption = OutputFormat.table) -> None:
    """Seal every secret in the registry with the first key of HOOKSTREAM_SECRET_KEYS, over Kafka.

    These are signing secrets, signing keys, values of sensitive headers, the secrets of `auth`, and the keys of
    subjects.
    First put the new key in front of the ring of every process, and restart them. Afterwards the former keys can be
    removed. It can be interrupted and repeated: secrets that the first key has sealed are left alone. Receivers notice
    nothing, because the secrets themselves stay the same. Exit code 1: some secrets could not be sealed.

    Examples:
        hookstream keys rotate
        hookstream keys rotate -o json
    """

    async def work() -> int:
        from app.adapters.clock import SystemClock
        from app.cli.connect.registry_session import session

        keys = process_context.keyring(process_context.settings())
        ring = RingUse(keys.first, keys.open, keys.seal)
        async with session() as registry:
            rotation = _Rotation(registry, ring, SystemClock().now_ms())
            await rotation.run()
        show_one(
            {
                "key": ring.first,
                "sealed": rotation.sealed,
                "unchanged": rotation.unchanged,
                "failed": len(rotation.failed),
            },
            output,
        )
        for line in rotation.failed[:_SHOWN]:
            print(line, file=sys.stderr)
        return 1 if rotation.failed else 0

    process_context.guarded(lambda: process_context.run(work()))


class _Rotation:
    def __init__(self, registry: RegistrySession, ring: RingUse, now_ms: int) -> None:
        self._registry = registry
        self._ring = ring
        self._now_ms = now_ms
        self.sealed = self.unchanged = 0
        self.failed: list[str] = []

    async def run(self) -> None:
        """Go through all endpoints, a bounded number at the same time."""
        waiting = iter(sorted(each.id for each in self._registry.directory.endpoints()))

        async def worker() -> None:
            for endpoint_id in waiting:
                await self._rotate(endpoint_id)
                done = self.sealed + self.unchanged + len(self.failed)
                if done % _PROGRESS == 0:
                    print(f"{done} endpoints examined, {self.sealed} sealed", file=sys.stderr)

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(worker())
        await self._rotate_subject_keys()

    async def _rotate_subject_keys(self) -> None:
        """Seal the parts of the tree of subjects' keys again; the registry opens them."""
        parts = self._registry.directory.erasures.keys
        try:
            while others := sum(each.sealed.key_id != self._ring.first for each in parts.values()):
                await self._registry.call(ResealSubjectKeys(self._ring.first), "subject-keys")
                self.sealed += others - sum(each.sealed.key_id != self._ring.first for each in parts.values())
        except CommandRefused as error:
            self.failed.append(f"keys of subjects: {error.detail}")

    async def _rotate(self, endpoint_id: str) -> None:
        for attempt in range(1, _TRIES + 1):
            endpoint = self._registry.directory.endpoint(endpoint_id)
            try:
                changes = _changes(endpoint, self._ring, self._now_ms) if endpoint is not None else {}
                if endpoint is None or not changes:
                    self.unchanged += 1
                    return
                await self._registry.call(UpdateEndpoint(endpoint_id, changes, endpoint.version), endpoint_id)
                self.sealed += 1
                return
            except CommandRefused as error:
                if error.code != "conflict" or attempt == _TRIES:
                    self.failed.append(f"{endpoint_id}: {error.detail}")
                    return
                await self._registry.catch_up()
            except ConfigError as error:
                self.failed.append(f"{endpoint_id}: {error}")
                return


def _changes(endpoint: Endpoint, ring: RingUse, now_ms: int) -> dict[str, Any]:
    """The fields whose values the first key has not sealed yet, sealed with it. Raises `ConfigError`."""
    fresh = {
        "secrets": resealed(endpoint, ring, now_ms),
        "signing_keys": resealed_keys(endpoint, ring, now_ms),
        "sealed_headers": resealed_headers(endpoint, ring),
        "sealed_auth": resealed_auth(endpoint, ring),
    }
    return {name: msgspec.to_builtins(value) for name, value in fresh.items() if value is not None}
