"""An endpoint, a directory with it, and decisions about them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.tenant import Tenant
from app.core.records import command as command_record
from app.core.records import registry
from app.core.records.command import CommandAction
from app.profiles.catalog import PROFILES
from app.roles.registry import decisions
from app.roles.registry.changes import RegistryChange

NOW = 1_000


ENDPOINT = Endpoint(
    id="ep_1",
    tenant="acme",
    mode="live",
    url="https://x.example/hook",
    events=("a.*",),
    profile="standard",
    secrets=(SealedSecret(key_id="k", blob="AAAA", created_at_ms=1),),
    created_at_ms=500,
    updated_at_ms=600,
    version=3,
)


def changed(endpoint: Endpoint = ENDPOINT, **fields: Any) -> Endpoint:
    return msgspec.structs.replace(endpoint, **fields)


def directory(*entities: Endpoint | Tenant) -> Directory:
    filled = Directory()
    for each in entities:
        kind = "endpoint" if isinstance(each, Endpoint) else "tenant"
        registry.apply(filled, f"{kind}/{each.id}", registry.encode(each))
    return filled


def decide(action: CommandAction, where: Directory | None = None) -> RegistryChange:
    command = command_record.Command(id="c1", issued_at_ms=1, action=action)
    (change,) = decisions.decide(command, directory(ENDPOINT) if where is None else where, NOW, PROFILES)
    return change


def refused(action: CommandAction, where: Directory | None = None) -> tuple[str, str]:
    with pytest.raises(CommandRefused) as caught:
        decide(action, where)
    return caught.value.code, caught.value.detail


def alive(*steps: CommandAction, endpoint: Endpoint = ENDPOINT) -> Directory:
    """The directory after these commands on the endpoint, one second apart."""
    where = directory(endpoint)
    for number, step in enumerate(steps, 1):
        command = command_record.Command(id="c", issued_at_ms=1, action=step)
        for change in decisions.decide(command, where, NOW * number, PROFILES):
            registry.apply(where, change.key, registry.encode(change.value))
    return where


PAUSE = command_record.SuspendEndpoint(id="ep_1", status="paused", begin={0: 5, 1: 7}, dead_begin=3)


DISABLE = command_record.SuspendEndpoint(id="ep_1", status="disabled", begin={0: 5, 1: 7}, dead_begin=3)


RESUME = command_record.ReactivateEndpoint(id="ep_1", end={0: 9, 1: 7}, replay_id="rpl_1")
