"""Who changed what is written beside the change, of the right tenant and mode, in a bounded ring, without secrets."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.audit import KEPT, entry_of
from app.core.commands import (
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
    UpdateEndpoint,
)
from app.core.directory import Directory
from app.core.model import ApiKey, AuditEntry, Endpoint, EventType, SealedSecret, Tenant
from app.core.registry import apply, decide, encode

SECRET = SealedSecret(key_id="k1", blob="sealed", created_at_ms=1)
ENDPOINT = Endpoint(
    id="ep_1", tenant="acme", mode="test", url="https://a.example/", events=("*",), profile="standard",
    secrets=(SECRET,),
)  # fmt: skip
KEY = ApiKey(id="key_1", tenant="acme", mode="live", digest="d", last4="abcd")


def do(directory: Directory, action: Any, actor: str = "somebody") -> AuditEntry | None:
    command = Command(id="c", issued_at_ms=0, action=action, actor=actor)
    changes = decide(command, directory, 5, {"standard"})
    entry = entry_of(command, changes[0].key, changes[0].version, directory, 5)
    for change in changes:
        apply(directory, change.key, encode(change.value))
    if entry is not None:
        key = f"audit/{entry.tenant}/{entry.mode}/{entry.slot}"
        apply(directory, key, encode(entry))
    return entry


@pytest.mark.parametrize(
    ("action", "scope", "entity", "detail"),
    [(CreateEndpoint(ENDPOINT), ("acme", "test"), "endpoint/ep_1", "https://a.example/"),
     (UpdateEndpoint("ep_0", {"url": "https://b.example/", "timeout_s": 3}), ("acme", "test"), "endpoint/ep_0",
      "changed timeout_s, url"),
     (RotateSecret("ep_0", SECRET, 0), ("acme", "test"), "endpoint/ep_0", ""),
     (RemoveEndpoint("ep_0"), ("acme", "test"), "endpoint/ep_0", ""),
     (PutTenant(Tenant(id="acme")), ("acme", ""), "tenant/acme", ""),
     (CreateKey(KEY), ("acme", "live"), "key/key_1", ""), (RevokeKey("key_0"), ("acme", "live"), "key/key_0", ""),
     (PutEventType(EventType(name="a.b", tenant="acme", mode="live")), ("acme", "live"), "type/acme/live/a.b", ""),
     (RemoveEventType("acme", "live", "x.y"), ("acme", "live"), "type/acme/live/x.y", "")],
    ids=lambda value: type(value).__name__ if not isinstance(value, str | tuple) else "",
)  # fmt: skip
def test_an_entry_says_whose_what_and_which_fields(
    action: Any, scope: tuple[str, str], entity: str, detail: str
) -> None:
    directory = Directory()
    do(directory, CreateEndpoint(Endpoint(id="ep_0", tenant="acme", mode="test", url="https://a.example/",
                                          events=("*",), profile="standard")), actor="")  # fmt: skip
    do(directory, CreateKey(ApiKey(id="key_0", tenant="acme", mode="live", digest="e", last4="abcd")), actor="")
    do(directory, PutEventType(EventType(name="x.y", tenant="acme", mode="live")), actor="")
    entry = do(directory, action)
    assert entry is not None and (entry.tenant, entry.mode) == scope
    assert (entry.actor, entry.entity, entry.detail, entry.at_ms) == ("somebody", entity, detail, 5)
    assert "sealed" not in str(encode(entry))
    assert directory.audit(*scope) == [entry], "it is read back from its record"


def test_what_roles_ask_of_each_other_leaves_no_entry() -> None:
    directory = Directory()
    assert do(directory, CreateEndpoint(ENDPOINT), actor="") is None
    advance = Command(id="c", issued_at_ms=0, action=AdvanceReplay("rpl_1", {}, 0, "done"), actor="somebody")
    assert entry_of(advance, "replay/rpl_1", 1, directory, 0) is None, "nobody's replay"


def test_the_ring_keeps_the_latest() -> None:
    directory = Directory()
    do(directory, CreateEndpoint(ENDPOINT))
    for number in range(KEPT + 20):
        do(directory, UpdateEndpoint("ep_1", {"description": str(number)}))
    kept = directory.audit("acme", "test")
    assert [each.number for each in kept] == list(range(KEPT + 21, 21, -1))
    assert directory.audit("acme", "live") == []
