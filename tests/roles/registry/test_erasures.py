"""An erasure destroys the key of what was written before, and later events get another one."""

from __future__ import annotations

import base64
import json
import random
from typing import cast

import msgspec
import pytest

from app.adapters.secrets.keyring import AesKeyRing
from app.adapters.secrets.subject_vault import AesSubjectKeeper, AesSubjectVault
from app.core import limits
from app.core.directory import Directory
from app.core.errors import CommandRefused, ConfigError, Defect, Unavailable
from app.core.model.delivery import Delivery
from app.core.model.event import Event, Mode
from app.core.model.tenant import Tenant
from app.core.records import registry
from app.core.records.command import Command, CommandAction, DeleteTenant, EraseSubject, PutTenant, ResealSubjectKeys
from app.core.subjects import SealedBody
from app.profiles.catalog import PROFILES
from app.roles.registry import decisions, erasures
from app.roles.registry.changes import RegistryChange

OLD = "old:" + base64.b64encode(bytes(32)).decode()
NEW = "new:" + base64.b64encode(b"x" * 32).decode()
SECRET = b'{"type":"a.b","data":{"name":"Ada Lovelace"}}'


class Keys:
    """A registry's writer and a role beside it, with one directory."""

    def __init__(self, ring: str = OLD) -> None:
        self.directory = Directory()
        self.ring = AesKeyRing(ring)
        self.keeper = AesSubjectKeeper(self.ring)
        self.vault = AesSubjectVault(lambda: self.directory.erasures, self.ring)

    def apply(self, *changes: RegistryChange) -> None:
        for change in changes:
            value = registry.encode(change.value)
            assert value is not None and len(value) < 256 * 1024
            registry.apply(self.directory, change.key, value)

    def made(self) -> Keys:
        self.apply(*erasures.first_keys(self.directory, 1, self.keeper))
        return self

    def decide(self, action: CommandAction, now_ms: int = 1000) -> list[RegistryChange]:
        command = Command(id="c", issued_at_ms=1, action=action)
        changes = decisions.decide(command, self.directory, now_ms, PROFILES, keeper=self.keeper)
        self.apply(*changes)
        return changes

    def erase(self, subject: str = "ada", now_ms: int = 1000, tenant: str = "acme") -> list[RegistryChange]:
        return self.decide(EraseSubject(self.vault.erasure_id(tenant, "live", subject), tenant, "live"), now_ms)


def event(subject: str | None = "ada", body: bytes = SECRET, **fields: object) -> Event:
    known = Event(
        id="e1", type="a.b", tenant="acme", mode="live", created_at="", body=body, format="native", subject=subject
    )
    return msgspec.structs.replace(known, **fields)


def delivery(sealed: SealedBody, **fields: object) -> Delivery:
    made = Delivery(
        id="dlv_1",
        endpoint_id="ep",
        event_id="e1",
        event_type="a.b",
        tenant="acme",
        mode="live",
        created_at="",
        body=sealed.value,
        sealed=sealed.leaf,
    )
    return msgspec.structs.replace(made, **fields)


def test_a_sealed_body_opens_until_its_subject_is_erased() -> None:
    keys = Keys().made()
    sealed, other = keys.vault.seal(event(), 500), keys.vault.seal(event("bob"), 500)
    assert b"Ada" not in sealed.value
    opened = keys.vault.open(delivery(sealed))
    assert opened is not None and (opened.body, opened.sealed) == (SECRET, None)
    first, *parts = keys.erase()
    assert first.key.startswith("erasure/ers_") and "ada" not in json.dumps(msgspec.to_builtins(first.value))
    assert len(parts) == 2, "the branch, and the root without it"
    assert keys.vault.open(delivery(sealed)) is None and not keys.vault.has_key(sealed.leaf)
    assert keys.vault.open(delivery(other)) is not None
    fresh = AesSubjectVault(lambda: keys.directory.erasures, AesKeyRing(OLD))
    assert fresh.open(delivery(sealed)) is None, "not only the memory of one process has forgotten it"


def test_events_from_before_stay_erased_and_later_ones_get_another_key() -> None:
    keys = Keys().made()
    before = keys.vault.seal(event(), 500)
    keys.erase(now_ms=1000)
    assert keys.vault.is_erased(event(), 1000) and not keys.vault.is_erased(event(), 1001)
    assert not keys.vault.is_erased(event("bob"), 500) and not keys.vault.is_erased(event(None), 500)
    assert not keys.vault.is_erased(event(mode="test"), 500) and not keys.vault.is_erased(event(tenant="b"), 500)
    assert keys.vault.seal(event(), 1000) == SealedBody(b"", before.leaf), "a replay that was under way"
    after = keys.vault.seal(event(), 1001)
    assert after.leaf != before.leaf and keys.vault.open(delivery(after)) is not None
    (again, *_) = keys.erase(now_ms=2000)
    assert again.version == 2 and keys.vault.open(delivery(after)) is None
    assert keys.vault.is_erased(event(), 1500)
    keys.erase(now_ms=1500)
    assert keys.vault.is_erased(event(), 2000), "a clock that goes back brings nothing back"


def test_a_sealed_body_is_bound_to_its_event_tenant_and_mode() -> None:
    keys = Keys().made()
    sealed = keys.vault.seal(event(), 1)
    for fields in ({"event_id": "e2"}, {"tenant": "other"}, {"mode": "test"}, {"body": sealed.value[:-1] + b"x"}):
        with pytest.raises(Defect, match="changed"):
            keys.vault.open(delivery(sealed, **fields))
    with pytest.raises(Defect):
        keys.vault.open(delivery(sealed, body=b""))


def test_without_keys_nothing_is_written_in_plain_and_nothing_is_taken_for_erased() -> None:
    keys = Keys()
    with pytest.raises(Unavailable):
        keys.vault.seal(event(), 1)
    with pytest.raises(ConfigError):
        keys.vault.has_key("0" * 12)
    with pytest.raises(CommandRefused):
        keys.decide(EraseSubject("ers_x", "acme", "live"))
    keys.made()
    assert not erasures.first_keys(keys.directory, 1, keys.keeper)


def test_another_ring_does_not_open_the_tree() -> None:
    keys = Keys().made()
    stranger = AesSubjectVault(lambda: keys.directory.erasures, AesKeyRing(NEW))
    with pytest.raises(ConfigError):
        stranger.has_key("0" * 12)


def test_an_erasure_is_refused_for_others_and_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys().made()
    keys.erase()
    id_ = keys.vault.erasure_id("acme", "live", "ada")
    scopes = ((id_, "other", "live"), (id_, "acme", "test"), ("x" * 65, "a", "live"))
    for id_, tenant, mode in scopes:
        action = EraseSubject(id_, tenant, cast(Mode, mode))
        with pytest.raises(CommandRefused) as caught:
            keys.decide(action)
        assert caught.value.code == "invalid"
    monkeypatch.setattr(erasures, "ERASURES", 1)
    keys.erase()
    keys.erase("bob", tenant="other")
    with pytest.raises(CommandRefused) as caught:
        keys.erase("bob")
    assert caught.value.code == "limit_reached"
    keys.decide(PutTenant(Tenant(id="acme")))
    keys.decide(DeleteTenant("acme"))
    with pytest.raises(CommandRefused) as caught:
        keys.erase()
    assert caught.value.code == "tenant_deleted"


def test_all_parts_are_sealed_again_with_the_first_key_of_the_ring() -> None:
    keys = Keys().made()
    sealed = keys.vault.seal(event("eve"), 1)
    for number in range(60):
        keys.erase(f"subject {number}")
    keys.ring = AesKeyRing(f"{NEW},{OLD}")
    keys.keeper = AesSubjectKeeper(keys.ring)
    with pytest.raises(CommandRefused):
        keys.decide(ResealSubjectKeys("old"))
    while keys.decide(ResealSubjectKeys("new")):
        pass
    assert {each.sealed.key_id for each in keys.directory.erasures.keys.values()} == {"new"}
    vault = AesSubjectVault(lambda: keys.directory.erasures, AesKeyRing(NEW))
    assert vault.open(delivery(sealed)) is not None
    assert vault.is_erased(event("subject 7"), 1)


def test_ten_thousand_erasures_cost_kilobytes_each_and_harm_nobody_else() -> None:
    keys = Keys().made()
    chance = random.Random(16)
    spared = [f"spared {number}" for number in range(200)]
    sealed = {each: keys.vault.seal(event(each), 1) for each in spared}
    gone = [f"{chance.choice('äβ漢🙂x')}{number}" * 20 for number in range(limits.ERASURES)]
    some = {each: keys.vault.seal(event(each), 1) for each in gone[::50]}
    for each in gone:
        keys.erase(each)
    assert all(keys.vault.open(delivery(body)) is not None for body in sealed.values())
    assert all(keys.vault.open(delivery(body)) is None for body in some.values())
    parts = keys.directory.erasures.keys
    sizes = {name: len(each.sealed.blob) for name, each in parts.items()}
    assert max(sizes.values()) < 100_000 and sum(sizes.values()) < 20_000_000
    with pytest.raises(CommandRefused):
        keys.erase("one more")
