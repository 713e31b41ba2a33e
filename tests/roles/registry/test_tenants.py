"""Tenants are deleted: what they hold goes in bounded steps, a record stays, and the id is not used again."""

from __future__ import annotations

from typing import Any

import pytest

from app.core import limits
from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.event_types import EventType
from app.core.model.replay import Replay
from app.core.model.tenant import ApiKey, Brand, Tenant
from app.core.records import registry
from app.core.records.command import (
    Command,
    CommandAction,
    CreateEndpoint,
    CreateKey,
    CreateReplay,
    DeleteTenant,
    PutEventType,
    PutTenant,
)
from app.profiles.catalog import PROFILES
from app.roles.registry import decisions, tenants
from app.roles.registry.changes import RegistryChange
from tests.roles.registry.registry_stage import NOW, changed, directory, refused

ACME = Tenant(id="acme", name="Acme", notify_emails=("a@acme.example",), metadata={"plan": "gold"}, version=4)


def do(where: Directory, action: CommandAction) -> list[RegistryChange]:
    """Decide and apply."""
    changes = decisions.decide(Command(id="c", issued_at_ms=1, action=action), where, NOW, PROFILES)
    return applied(where, changes)


def applied(where: Directory, changes: list[RegistryChange]) -> list[RegistryChange]:
    for change in changes:
        registry.apply(where, change.key, registry.encode(change.value))
    return changes


def key(number: int, tenant: str = "acme") -> ApiKey:
    return ApiKey(id=f"key_{tenant}_{number}", tenant=tenant, mode="live", digest=f"{number:064}", last4="0000")


def filled(endpoints: int = 3) -> Directory:
    """Two tenants with endpoints in both modes, keys, types and replays."""
    where = directory(ACME, Tenant(id="other"))
    for number in range(endpoints):
        mode: Any = "test" if number % 3 == 0 else "live"
        where.put_endpoint(changed(id=f"ep_{number:05}", mode=mode, uid=f"u{number}"))
    where.put_endpoint(changed(id="ep_other", tenant="other"))
    for tenant in ("acme", "other"):
        where.put_key(key(1 + (tenant == "other"), tenant))
        where.put_event_type(EventType(tenant=tenant, mode="live", name="a.b"))
        where.put_replay(replay(f"rpl_{tenant}", tenant))
    where.put_event_type(EventType(tenant="", mode="", name="c.d"))
    return where


def replay(id_: str, tenant: str) -> Replay:
    return Replay(id=id_, tenant=tenant, mode="live", endpoint_id="", reason="replay", begin={}, end={})


def test_a_deletion_removes_everything_and_leaves_a_record_without_content() -> None:
    where = filled()
    first, *rest = do(where, DeleteTenant("acme"))
    assert first.key == "tenant/acme"
    assert first.value == Tenant(id="acme", version=5, deleted_at_ms=NOW, updated_at_ms=NOW)
    assert {change.key for change in rest} == {
        "endpoint/ep_00000",
        "endpoint/ep_00001",
        "endpoint/ep_00002",
        "key/key_acme_1",
        "type/acme/live/a.b",
        "replay/rpl_acme",
    }
    assert all(change.value is None for change in rest)
    assert set(where.tenants) == {"other"} and set(where.deleted_tenants) == {"acme"}
    assert [each.id for each in where.endpoints()] == ["ep_other"]
    assert (len(where.keys), len(where.event_types), set(where.replays)) == (1, 2, {"rpl_other"})
    assert where.endpoint_named("acme", "live", "u1") is None
    assert tenants.unfinished(where) == set()
    assert do(where, DeleteTenant("acme")) == [], "a repetition changes nothing"


def test_no_step_is_larger_than_its_bound_and_together_they_remove_everything() -> None:
    where = filled(endpoints=2500)
    assert len(do(where, DeleteTenant("acme"))) == 1 + tenants.WITH_COMMAND
    assert tenants.unfinished(where) == {"acme"}
    sizes = []
    while changes := applied(where, tenants.sweep(where, "acme")):
        sizes.append(len(changes))
    assert sizes == [1000, 1000, 403]
    assert tenants.unfinished(where) == set() and len(where) == 1


@pytest.mark.parametrize(
    "action",
    [
        PutTenant(ACME),
        PutTenant(ACME, expected_version=0),
        CreateEndpoint(changed(id="ep_new")),
        CreateKey(key(9)),
        PutEventType(EventType(tenant="acme", mode="live", name="x.y")),
        CreateReplay(replay("rpl_new", "acme")),
    ],
    ids=lambda action: type(action).__name__,
)
def test_nothing_can_be_created_for_a_deleted_tenant(action: CommandAction) -> None:
    where = filled()
    do(where, DeleteTenant("acme"))
    detail = "tenant acme was deleted at 1970-01-01T00:00:01.000Z: its id is not used again"
    assert refused(action, where) == ("tenant_deleted", detail)


def test_the_record_of_a_deletion_survives_a_copy_of_the_directory() -> None:
    where, copy = filled(), Directory()
    do(where, DeleteTenant("acme"))
    for _ in copy.copied(where):
        pass
    assert copy.deleted_tenants == where.deleted_tenants and set(copy.tenants) == {"other"}


def test_a_deletion_is_refused_for_another_version_for_nobody_and_for_the_default_tenant() -> None:
    where = filled()
    assert refused(DeleteTenant("acme", 3), where) == ("conflict", "tenant acme has version 4, not 3")
    assert refused(DeleteTenant("nobody"), where) == ("not_found", "there is no tenant nobody")
    where.put_tenant(Tenant(id="default"))
    assert refused(DeleteTenant("default"), where)[0] == "default_tenant"
    assert do(where, DeleteTenant("acme", 4))[0].version == 5


def test_a_tenant_that_is_not_registered_can_be_deleted_if_it_holds_something() -> None:
    where = directory(changed())
    first, second = do(where, DeleteTenant("acme"))
    assert (first.version, second.key) == (1, "endpoint/ep_1")
    assert "acme" in where.deleted_tenants


def test_a_tenant_cannot_be_put_as_deleted() -> None:
    where = filled()
    (change,) = do(where, PutTenant(Tenant(id="acme", deleted_at_ms=5)))
    assert isinstance(change.value, Tenant) and change.value.deleted_at_ms is None


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({f"n{number}": "" for number in range(limits.METADATA + 1)}, "metadata: at most 50 entries"),
        ({"n" * (limits.METADATA_NAME + 1): ""}, "metadata: names have at most 64 characters, values at most 512"),
        ({"n": "v" * (limits.METADATA_VALUE + 1)}, "metadata: names have at most 64 characters, values at most 512"),
    ],
)
def test_the_metadata_of_a_tenant_is_bounded(metadata: dict[str, str], problem: str) -> None:
    with pytest.raises(CommandRefused) as caught:
        do(filled(), PutTenant(Tenant(id="acme", brand=Brand(name="A"), metadata=metadata)))
    assert (caught.value.code, caught.value.detail) == ("invalid", problem)
