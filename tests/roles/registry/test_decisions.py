"""Registry decisions: a command changes exactly what it names, or is refused with a sentence that says why."""

from __future__ import annotations

import msgspec
import pytest

from app.core import supersession
from app.core.directory import Directory
from app.core.model.delivery import DeliveryRevision
from app.core.model.endpoint import SealedSecret, SigningKey
from app.core.model.tenant import Tenant
from app.core.records import command as command_record
from app.core.records import registry
from app.core.records.command import CommandAction, CreateEndpoint, PutTenant, RemoveEndpoint, UpdateEndpoint
from app.profiles.catalog import PROFILES
from app.roles.registry import decisions
from app.roles.registry.changes import RegistryChange
from tests.roles.registry.registry_stage import (
    ENDPOINT,
    NOW,
    alive,
    changed,
    decide,
    directory,
    refused,
)


def test_a_created_endpoint_begins_at_version_1_now() -> None:
    expected = changed(version=1, created_at_ms=NOW, updated_at_ms=NOW)
    assert decide(CreateEndpoint(ENDPOINT), directory()) == RegistryChange("endpoint/ep_1", expected, 1)


def test_an_id_is_used_once() -> None:
    assert refused(CreateEndpoint(changed(tenant="other"))) == ("exists", "endpoint ep_1 already exists")


@pytest.mark.parametrize("expected", [None, 3])
def test_an_update_changes_the_named_fields_and_the_version(expected: int | None) -> None:
    changes = {"url": "https://y.example", "events": ["b"], "status": "paused", "schedule": [0, 9], "timeout": 5}
    after = changed(
        url="https://y.example",
        events=("b",),
        status="paused",
        schedule=(0.0, 9.0),
        timeout=5.0,
        version=4,
        epoch=4,
        updated_at_ms=NOW,
    )
    assert decide(UpdateEndpoint("ep_1", changes, expected)) == RegistryChange("endpoint/ep_1", after, 4)


def test_null_removes_an_override() -> None:
    where = directory(changed(timeout=5.0, schedule=(0.0,), rate_limit=1.0))
    change = decide(UpdateEndpoint("ep_1", {"timeout": None, "schedule": None, "rate_limit": None}), where)
    assert change.value == changed(version=4, updated_at_ms=NOW)


@pytest.mark.parametrize("expected", [None, 3])
def test_a_removed_endpoint_leaves_a_tombstone(expected: int | None) -> None:
    change = decide(RemoveEndpoint("ep_1", expected))
    assert change == RegistryChange("endpoint/ep_1", None, 0)
    assert registry.encode(change.value) is None


@pytest.mark.parametrize("expected", [0, 2, 4])
def test_a_command_for_another_version_is_a_conflict(expected: int) -> None:
    for action in (UpdateEndpoint("ep_1", {"url": "https://y.example"}, expected), RemoveEndpoint("ep_1", expected)):
        assert refused(action) == ("conflict", f"endpoint ep_1 has version 3, not {expected}")


@pytest.mark.parametrize("action", [UpdateEndpoint("no", {}), RemoveEndpoint("no"), UpdateEndpoint("no", {}, 3)])
def test_an_unknown_endpoint_is_not_found(action: CommandAction) -> None:
    assert refused(action) == ("not_found", "there is no endpoint no")


@pytest.mark.parametrize(
    "field", ["id", "tenant", "mode", "profile", "created_at_ms", "updated_at_ms", "version", "colour"]
)
def test_fields_that_cannot_be_changed_are_named(field: str) -> None:
    same = getattr(ENDPOINT, field, "red")
    assert refused(UpdateEndpoint("ep_1", {field: same, "url": "https://y.example"})) == (
        "invalid",
        f"cannot be changed: {field}",
    )


def test_a_replaced_tenant_has_its_creation_time_and_the_next_version() -> None:
    first = decide(PutTenant(Tenant(id="acme", version=99)), directory())
    assert first == RegistryChange("tenant/acme", Tenant(id="acme", created_at_ms=NOW, updated_at_ms=NOW), 1)
    existing = Tenant(id="acme", created_at_ms=5, updated_at_ms=6, version=7)
    second = decide(PutTenant(Tenant(id="acme", name="Acme")), directory(existing))
    assert second.value == Tenant(id="acme", name="Acme", created_at_ms=5, updated_at_ms=NOW, version=8)
    assert second.version == 8


def test_the_records_of_an_endpoints_life_rebuild_the_directory() -> None:
    where, steps = Directory(), list[RegistryChange]()
    for action in (
        PutTenant(Tenant(id="acme", name="Acme", notify_emails=("ops@acme.example",))),
        CreateEndpoint(ENDPOINT),
        CreateEndpoint(changed(id="ep_2", events=("*",), secrets=())),
        UpdateEndpoint("ep_1", {"status": "paused"}, 1),
        RemoveEndpoint("ep_2", 1),
    ):
        steps.append(decide(action, where))
        registry.apply(where, steps[-1].key, registry.encode(steps[-1].value))
    assert where.endpoints() == [steps[3].value]
    assert where.tenants == {"acme": steps[0].value}
    registry.apply(where, "tenant/acme", None)
    registry.apply(where, "endpoint/ep_1", None)
    assert (len(where), where.tenants) == (0, {})


def test_a_rotated_secret_signs_until_the_overlap_ends() -> None:
    new = SealedSecret(key_id="k", blob="BBBB", created_at_ms=2)
    rotate = command_record.RotateSecret("ep_1", new, overlap_until_ms=NOW + 500, key="once")
    secrets = alive(rotate).endpoint("ep_1").secrets  # type: ignore[union-attr]
    assert [(each.blob, each.expires_at_ms) for each in secrets] == [("BBBB", None), ("AAAA", NOW + 500)]
    assert alive(rotate, rotate).endpoint("ep_1").secrets == secrets, "the same request again"  # type: ignore[union-attr]
    at_once = msgspec.structs.replace(rotate, overlap_until_ms=NOW, key=None)
    assert [each.blob for each in alive(at_once).endpoint("ep_1").secrets] == ["BBBB"]  # type: ignore[union-attr]
    gone = msgspec.structs.replace(rotate, secret=None, key=None)
    assert alive(gone).endpoint("ep_1").secrets == ()  # type: ignore[union-attr]


def test_a_rotated_signing_key_signs_until_the_overlap_ends() -> None:
    first, second = (
        SigningKey(key_id="k", blob=blob, created_at_ms=2, public="whpk_" + letter * 43 + "=")
        for blob, letter in (("AAAA", "a"), ("BBBB", "b"))
    )
    made = command_record.RotateSigningKey("ep_1", first, overlap_until_ms=99 * NOW, key="once")
    rotate = command_record.RotateSigningKey("ep_1", second, overlap_until_ms=99 * NOW, key="twice")
    keys = alive(made, rotate).endpoint("ep_1").signing_keys  # type: ignore[union-attr]
    assert [(each.blob, each.expires_at_ms) for each in keys] == [("BBBB", None), ("AAAA", 99 * NOW)]
    again = alive(made, rotate, rotate).endpoint("ep_1")
    assert again.signing_keys == keys, "the same request again"  # type: ignore[union-attr]
    assert again.secrets[0].blob == "AAAA" and again.rotated_by is None  # type: ignore[union-attr]
    at_once = msgspec.structs.replace(rotate, overlap_until_ms=2 * NOW, key=None)
    assert [each.blob for each in alive(made, at_once).endpoint("ep_1").signing_keys] == ["BBBB"]  # type: ignore[union-attr]
    many = [msgspec.structs.replace(rotate, key=str(number)) for number in range(20)]
    assert len(alive(*many).endpoint("ep_1").signing_keys) == 10  # type: ignore[union-attr]


@pytest.mark.parametrize("public", ["", "whpk_", "whpk_" + "a" * 44, "<script>", "whpk_" + "a" * 100_000])
def test_a_signing_key_without_a_public_half_is_refused(public: str) -> None:
    key = SigningKey(key_id="k", blob="AAAA", created_at_ms=2, public=public)
    for action in (
        command_record.RotateSigningKey("ep_1", key, overlap_until_ms=NOW),
        UpdateEndpoint("ep_1", {"signing_keys": [msgspec.to_builtins(key)]}),
    ):
        code, detail = refused(action)
        assert code == "invalid" and detail.startswith("signing_keys: ") and len(detail) < 200


def test_revisions_are_stored_by_delivery_and_expire() -> None:
    where = directory()
    where.put_revision(DeliveryRevision(id="dlv_old", number=1))
    changes = decisions.decide(
        command_record.Command(
            id="c",
            issued_at_ms=0,
            action=command_record.SupersedeDeliveries([DeliveryRevision(id="dlv_1", number=5, cancel=True)]),
        ),
        where,
        supersession.RETENTION_MS + 2,
        PROFILES,
    )
    for change in changes:
        registry.apply(where, change.key, registry.encode(change.value))
    assert [change.key for change in changes] == ["revision/dlv_1", "revision/dlv_old"]
    assert where.revisions == {"dlv_1": DeliveryRevision(id="dlv_1", number=5, cancel=True)}


def test_unsubscribing_removes_an_address_from_its_tenant_only() -> None:
    where = directory(Tenant(id="acme", notify_emails=("Ops@x.example", "b@x.example"), version=2))
    after = decide(command_record.UnsubscribeAddress("acme", "ops@X.example"), where)
    assert after.value == Tenant(id="acme", notify_emails=("b@x.example",), version=3, updated_at_ms=NOW)
    for tenant, address in (("acme", "c@x.example"), ("other", "b@x.example")):
        command = command_record.Command(
            id="c", issued_at_ms=1, action=command_record.UnsubscribeAddress(tenant, address)
        )
        assert decisions.decide(command, where, NOW, PROFILES) == []


TAKEN = ("uid_taken", "uid: shop is that of endpoint ep_1: choose another one")


def test_a_uid_is_unique_in_its_tenant_and_mode() -> None:
    other = changed(id="ep_2")
    where = directory(changed(uid="shop"), other)
    assert refused(CreateEndpoint(changed(id="ep_3", uid="shop")), where) == TAKEN
    assert refused(UpdateEndpoint("ep_2", {"uid": "shop"}), where) == TAKEN
    for free in (changed(id="ep_3", uid="Shop"), changed(id="ep_3", uid="shop", mode="test")):
        assert decide(CreateEndpoint(free), where).version == 1
    assert decide(CreateEndpoint(changed(id="ep_3", uid="shop", tenant="other")), where).version == 1
    assert decide(UpdateEndpoint("ep_1", {"uid": "shop", "description": "its own"}), where).version == 4


def test_a_uid_that_was_given_up_is_free_at_once() -> None:
    where = alive(UpdateEndpoint("ep_1", {"uid": "store"}), endpoint=changed(uid="shop"))
    assert decide(CreateEndpoint(changed(id="ep_2", uid="shop")), where).version == 1
    assert refused(CreateEndpoint(changed(id="ep_2", uid="store")), where)[0] == "uid_taken"
    cleared = alive(UpdateEndpoint("ep_1", {"uid": None}), endpoint=changed(uid="shop"))
    assert decide(CreateEndpoint(changed(id="ep_2", uid="shop")), cleared).version == 1


@pytest.mark.parametrize("uid", ["", ".", "..", "ep_1", "ep_", "a/b", "a b", "ä", "a\n", "a" * 257, "%2e", 7])
def test_a_uid_that_cannot_stand_in_a_path_or_looks_like_an_id_is_refused(uid: object) -> None:
    code, detail = refused(UpdateEndpoint("ep_1", {"uid": uid}))
    assert code == "invalid" and detail.startswith("uid: ") and len(detail) < 300


@pytest.mark.parametrize("uid", ["a", "...", "EP_1", "customer-42_b.c", "a" * 256])
def test_a_uid_has_letters_digits_and_three_signs(uid: str) -> None:
    assert decide(UpdateEndpoint("ep_1", {"uid": uid})).version == 4
