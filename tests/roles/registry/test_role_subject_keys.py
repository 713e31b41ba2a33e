"""The writer makes the keys of subjects once, and an erasure is one transaction with its audit entry."""

from __future__ import annotations

import asyncio
import json

from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.adapters.secrets.subject_vault import AesSubjectKeeper
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.model.tenant import Tenant
from app.core.records import registry
from app.core.records.command import Command, CommandAction, EraseSubject, PutTenant
from app.profiles.catalog import PROFILES
from app.roles.registry.role import RegistryRole
from tests.fakes.clock import FakeClock
from tests.fakes.registry_store import MemoryStore


def command(id_: str, action: CommandAction) -> bytes:
    return registry.encode(Command(id=id_, issued_at_ms=1, action=action, actor="operator")) or b""


async def test_the_writer_makes_keys_once_and_an_erasure_changes_them() -> None:
    store, ring = MemoryStore(), AesKeyRing(generate_ring())
    for turn in range(2):
        role = RegistryRole(
            store=lambda: store,
            clock=FakeClock(),
            meter=PrometheusMeter(),
            profiles=PROFILES,
            keeper=AesSubjectKeeper(ring),
        )
        running = asyncio.create_task(role.run())
        store.give(command(f"tenant {turn}", PutTenant(Tenant(id="acme"))))
        await store.pulse.until(lambda: "subject-keys/root" in store.states)
        made = dict(store.states)
        store.give(command(f"erase {turn}", EraseSubject("ers_1", "acme", "live")))
        (reply,) = await store.replied(f"erase {turn}")
        assert reply.ok and reply.version == turn + 1
        assert made["subject-keys/salt"] == store.states["subject-keys/salt"]
        assert json.loads(store.states["erasure/ers_1"])["tenant"] == "acme"
        parts = [name for name in store.states if name.startswith("subject-keys/")]
        assert len(parts) == 3 + turn and made["subject-keys/root"] != store.states["subject-keys/root"]
        entries = [json.loads(value) for _, value in store.entries]
        assert [each["entity"] for each in entries if each["action"] == "subject.erase"] == ["erasure/ers_1"] * (
            turn + 1
        )
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
