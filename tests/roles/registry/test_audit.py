"""Who did what is recorded with the fields before and after, of the right tenant and mode, bounded, without secrets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.model.delivery import DeliveryRevision
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.model.event_types import EventType
from app.core.model.tenant import ApiKey, Tenant
from app.core.records.audit import AuditEntry, action, encode
from app.core.records.command import (
    AdvanceReplay,
    Command,
    CreateEndpoint,
    CreateKey,
    PutEventType,
    PutTenant,
    RemoveEndpoint,
    RemoveEventType,
    RevokeKey,
    RotateSecret,
    SupersedeDeliveries,
    SuspendEndpoint,
    UpdateEndpoint,
)
from app.core.records.registry import apply
from app.core.records.registry import encode as encode_state
from app.core.topics.declarations import _SMALLEST_BATCH_LIMIT as RECORD_LIMIT
from app.roles.registry.audit import entry_of
from app.roles.registry.decisions import decide

SECRET = SealedSecret(key_id="k1", blob="sealed", created_at_ms=1)
ENDPOINT = Endpoint(
    id="ep_1",
    tenant="acme",
    mode="test",
    url="https://a.example/",
    events=("*",),
    profile="standard",
    secrets=(SECRET,),
    headers={"authorization": "hush-hush"},
)
KEY = ApiKey(id="key_1", tenant="acme", mode="live", digest="0" * 64, last4="abcd")


def do(directory: Directory, asked: Any, actor: str = "somebody") -> AuditEntry | None:
    command = Command(id="c", issued_at_ms=0, action=asked, actor=actor)
    changes = decide(command, directory, 5, {"standard"})
    first = changes[0]
    entry = entry_of(command, first.key, first.value, first.version, directory, 5)
    for change in changes:
        apply(directory, change.key, encode_state(change.value))
    return entry


@pytest.fixture
def directory() -> Directory:
    """With one thing of each kind."""
    there = Directory()
    do(there, CreateEndpoint(msgspec.structs.replace(ENDPOINT, id="ep_0")), actor="")
    do(there, CreateKey(msgspec.structs.replace(KEY, id="key_0", digest="1" * 64)), actor="")
    do(there, PutEventType(EventType(name="x.y", tenant="acme", mode="live")), actor="")
    return there


@pytest.mark.parametrize(
    ("asked", "scope", "entity", "before", "after"),
    [
        (CreateEndpoint(ENDPOINT), ("acme", "test"), "endpoint/ep_1", {}, {"url": "https://a.example/"}),
        (
            UpdateEndpoint("ep_0", {"url": "https://b.example/", "timeout": 3}),
            ("acme", "test"),
            "endpoint/ep_0",
            {"url": "https://a.example/", "timeout": None},
            {"url": "https://b.example/", "timeout": 3},
        ),
        (
            RotateSecret("ep_0", msgspec.structs.replace(SECRET, created_at_ms=9), 0),
            ("acme", "test"),
            "endpoint/ep_0",
            {"secrets": [{"created_at_ms": 1}]},
            {"secrets": [{"created_at_ms": 9}]},
        ),
        (SuspendEndpoint("ep_0", "paused", {0: 1}, 0), ("acme", "test"), "endpoint/ep_0", {}, {"status": "paused"}),
        (RemoveEndpoint("ep_0"), ("acme", "test"), "endpoint/ep_0", {"url": "https://a.example/"}, None),
        (PutTenant(Tenant(id="acme", name="Acme")), ("acme", ""), "tenant/acme", {}, {"name": "Acme"}),
        (CreateKey(KEY), ("acme", "live"), "key/key_1", {}, {"last4": "abcd"}),
        (RevokeKey("key_0"), ("acme", "live"), "key/key_0", {"last4": "abcd"}, None),
        (
            PutEventType(EventType(name="a.b", tenant="acme", mode="live")),
            ("acme", "live"),
            "type/acme/live/a.b",
            {},
            {"name": "a.b"},
        ),
        (RemoveEventType("acme", "live", "x.y"), ("acme", "live"), "type/acme/live/x.y", {"name": "x.y"}, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else "",
)
def test_an_audit_entry_has_tenant_entity_and_values_before_and_after(
    directory: Directory, asked: Any, scope: tuple[str, str], entity: str, before: Any, after: Any
) -> None:
    entry = do(directory, asked)
    assert entry is not None and (entry.tenant, entry.mode, entry.entity) == (*scope, entity)
    assert entry.actor == "somebody" and entry.at == "1970-01-01T00:00:00.005Z"
    assert (entry.before or {}).items() >= before.items()
    assert entry.after is None if after is None else (entry.after or {}).items() >= after.items()
    text = encode(entry).decode()
    assert not any(secret in text for secret in ("sealed", "hush-hush", "digest"))


def test_only_what_changed_is_in_an_entry(directory: Directory) -> None:
    entry = do(directory, UpdateEndpoint("ep_0", {"headers": {"authorization": "other"}, "events": ["a.*"]}))
    assert entry is not None
    written = msgspec.json.decode(encode(entry))
    assert written["before"] == {"events": ["*"], "headers": {"authorization": "(hidden)"}}
    assert written["after"] == {"events": ["a.*"], "headers": {"authorization": "(hidden)"}}


def test_commands_between_roles_have_no_audit_entry(directory: Directory) -> None:
    assert do(directory, CreateEndpoint(ENDPOINT), actor="") is None
    advance = Command(id="c", issued_at_ms=0, action=AdvanceReplay("rpl_1", {}, 0, "done"), actor="somebody")
    assert entry_of(advance, "replay/rpl_1", None, 1, directory, 0) is None, "a replay that is not there"
    assert do(directory, SupersedeDeliveries([DeliveryRevision(id="dlv_1", number=1)])) is None, (
        "the API records retries itself"
    )


LONG_OR_SHORT = st.text(max_size=100) | st.binary(max_size=9).map(lambda some: some.hex() * 9000)


@given(st.dictionaries(st.text(max_size=20), LONG_OR_SHORT, max_size=90), st.text(max_size=3000))
def test_an_entry_always_fits_its_topic(fields: dict[str, Any], text: str) -> None:
    entry = action("acme", "live", 0, actor=text, action="x", entity=text, detail=text, before=fields, after=fields)
    assert len(encode(entry)) < RECORD_LIMIT
    assert msgspec.json.decode(encode(entry), type=AuditEntry) == entry
