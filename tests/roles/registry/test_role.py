"""The registry role on a fake store: every command is answered, and nothing is written in part."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.adapters.json_schemas import schema_problem
from app.adapters.secrets.keyring import AesKeyRing, generate_ring
from app.adapters.telemetry.metrics import PrometheusMeter
from app.core.errors import Unavailable
from app.core.limits import TenantLimits
from app.core.model.endpoint import Endpoint
from app.core.model.event_types import EventType
from app.core.model.tenant import ApiKey, Tenant
from app.core.records import registry
from app.core.records.command import (
    Command,
    CommandAction,
    CommandReply,
    CreateEndpoint,
    CreateKey,
    DeleteTenant,
    PutEventType,
    PutTenant,
    RemoveEndpoint,
    RemoveEventType,
    RevokeKey,
    RotateSecret,
    UpdateEndpoint,
)
from app.profiles.catalog import PROFILES
from app.profiles.secrets import secret_problem
from app.roles.registry import decisions
from app.roles.registry.role import RegistryRole
from tests.fakes.clock import FakeClock, settle
from tests.fakes.registry_store import MemoryStore

KEYRING = AesKeyRing(generate_ring())


class Stage:
    """A candidate for the writer, running."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.clock = FakeClock()
        self.meter = PrometheusMeter()
        self.role = RegistryRole(
            store=lambda: self.store,
            clock=self.clock,
            meter=self.meter,
            profiles=PROFILES,
            url_problem=lambda url: "private network" if "internal" in url else None,
            schema_problem=schema_problem,
            secret_problem=lambda endpoint, now_ms: secret_problem(endpoint, KEYRING.open, now_ms),
        )
        self.running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.running = asyncio.create_task(self.role.run())

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)
        assert not self.store.running and self.role.ready() is not None

    def low(self) -> int | None:
        """The offset of the first command that is not done."""
        return self.role.report().places["registry.commands", 0].low

    async def endpoint(self, id_: str) -> Endpoint:
        return msgspec.json.decode(self.store.states[f"endpoint/{id_}"], type=Endpoint)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    running = Stage()
    yield running
    await running.stop()


def command(id_: str, action: CommandAction) -> bytes:
    return registry.encode(Command(id=id_, issued_at_ms=1, action=action)) or b""


def endpoint(id_: str = "ep", **fields: Any) -> Endpoint:
    registered = Endpoint(
        id=id_,
        tenant="acme",
        mode="live",
        url="https://x.example/",
        events=("*",),
        profile="standard",
        secrets=(KEYRING.seal("whsec_MDEyMzQ1Njc4OWFiY2RlZg==", f"acme/{id_}", 0),),
    )
    return msgspec.structs.replace(registered, **fields)


async def test_progress_of_the_writer_and_of_a_standby(stage: Stage) -> None:
    assert stage.role.report().places == {}
    stage.start()
    gate = stage.store.gate = asyncio.Event()
    stage.store.give(command("c1", PutTenant(Tenant(id="acme"))))
    await settle()
    assert stage.low() == 0
    gate.set()
    await stage.store.replied("c1")
    await settle()
    assert stage.low() == 1
    stage.store.elected.clear()
    assert stage.role.report().places == {}


async def test_a_command_becomes_a_state_and_a_reply_in_one_transaction(stage: Stage) -> None:
    assert stage.role.ready() is not None
    stage.start()
    stage.store.give(command("c1", CreateEndpoint(endpoint())), command("c2", PutTenant(Tenant(id="acme"))))
    replies = await stage.store.replied("c1", "c2")
    assert stage.role.ready() is None
    assert replies == [
        CommandReply(command_id="c1", ok=True, version=1),
        CommandReply(command_id="c2", ok=True, version=1),
    ]
    assert (await stage.endpoint("ep")).created_at_ms == stage.clock.now_ms()
    assert set(stage.store.states) == {"endpoint/ep", "tenant/acme"}
    assert stage.store.transactions == [2]


async def test_a_command_sees_those_before_it_in_the_same_transaction(stage: Stage) -> None:
    stage.start()
    stage.store.give(
        command("c1", CreateEndpoint(endpoint())),
        command("c2", UpdateEndpoint("ep", {"status": "paused"}, 1)),
        command("c3", CreateEndpoint(endpoint("other"))),
        command("c4", RemoveEndpoint("other", 1)),
    )
    assert [reply.version for reply in await stage.store.replied("c1", "c2", "c3", "c4")] == [1, 2, 1, 0]
    assert (await stage.endpoint("ep")).status == "paused"
    assert set(stage.store.states) == {"endpoint/ep"}


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (UpdateEndpoint("nobody", {}), "not_found"),
        (RemoveEndpoint("ep", 7), "conflict"),
        (CreateEndpoint(endpoint()), "exists"),
        (UpdateEndpoint("ep", {"events": []}), "invalid"),
        (UpdateEndpoint("ep", {"url": "https://internal.example/"}), "invalid"),
        (PutEventType(EventType(name="a.b", tenant="t", mode="live", schema='{"pattern": "(?!x)"}')), "invalid"),
        (CreateEndpoint(endpoint("ep2", url="https://internal.example/")), "invalid"),
    ],
)
async def test_a_refusal_is_answered_and_changes_nothing(stage: Stage, action: CommandAction, code: str) -> None:
    stage.start()
    stage.store.give(command("c1", CreateEndpoint(endpoint())))
    await stage.store.replied("c1")
    before = dict(stage.store.states)
    stage.store.give(command("c2", action), command("c3", UpdateEndpoint("ep", {"description": "after"}, 1)))
    refused, after = await stage.store.replied("c2", "c3")
    assert (refused.ok, refused.code, refused.version) == (False, code, 0) and refused.detail
    assert after.ok and after.version == 2
    assert set(stage.store.states) == set(before)


async def test_a_users_change_and_its_audit_entry_are_in_one_transaction(stage: Stage) -> None:
    stage.start()
    by_somebody = Command(id="c2", issued_at_ms=0, action=UpdateEndpoint("ep", {"description": "new"}), actor="key_1")
    stage.store.give(command("c1", CreateEndpoint(endpoint())), msgspec.json.encode(by_somebody))
    await stage.store.replied("c1", "c2")
    ((tenant, value),) = stage.store.entries
    entry = msgspec.json.decode(value)
    assert (tenant, entry["actor"], entry["action"]) == ("acme", "key_1", "endpoint.update")
    assert entry["after"] == {"description": "new"} and entry["version"] == 2
    refused = Command(id="c3", issued_at_ms=0, action=UpdateEndpoint("gone", {}), actor="key_1")
    stage.store.give(msgspec.json.encode(refused))
    await stage.store.replied("c3")
    assert len(stage.store.entries) == 1


async def test_a_state_over_256_kib_is_refused(stage: Stage) -> None:
    stage.start()
    events = tuple(f"{'x' * 250}.{number}" for number in range(500))
    changes = {
        "headers": {"x-1": "v" * 4000},
        "metadata": {f"label-{number}": "\x01" * 512 for number in range(50)},
    }
    stage.store.give(
        command("c1", CreateEndpoint(endpoint(events=events))),
        command("c2", UpdateEndpoint("ep", changes, 1)),
        command("c3", UpdateEndpoint("ep", {"description": "after"}, 1)),
    )
    fits, large, after = await stage.store.replied("c1", "c2", "c3")
    assert fits.ok
    assert (large.code, "the limit is 262144" in (large.detail or "")) == ("invalid", True)
    assert after.ok and after.version == 2, "the refused state was taken for the current one"
    assert (await stage.endpoint("ep")).metadata == {}


async def test_an_unreadable_command_is_skipped_and_counted(stage: Stage) -> None:
    stage.start()
    stage.store.give(b"no command", command("c1", CreateEndpoint(endpoint())), b"")
    await stage.store.replied("c1")
    assert (set(stage.store.replies), stage.store.transactions) == ({"c1"}, [3])
    assert 'registry_commands_total{result="unreadable"} 2.0' in stage.meter.exposition().decode()
    stage.store.give(b"{}")
    await stage.store.pulse.until(lambda: stage.store.transactions == [3, 4])


async def test_a_transaction_that_fails_ends_the_run_and_the_next_one_starts_from_the_log(stage: Stage) -> None:
    stage.start()
    stage.store.failure = Unavailable("the outcome is unknown")
    stage.store.give(command("c1", CreateEndpoint(endpoint())))
    assert stage.running is not None
    with pytest.raises(Unavailable):
        await stage.running
    assert not stage.store.running and stage.role.ready() is not None
    assert (stage.store.states, stage.store.replies) == ({}, {})
    stage.store.failure = None
    stage.start()
    (reply,) = await stage.store.replied("c1")
    assert reply.ok, "what the failed transaction would have written was remembered"


async def test_a_writer_that_is_elected_again_reads_the_state_again(stage: Stage) -> None:
    stage.start()
    stage.store.give(command("c1", CreateEndpoint(endpoint())), command("c2", CreateEndpoint(endpoint("other"))))
    await stage.store.replied("c1", "c2")
    stage.store.elected.clear()
    stage.store.pulse.beat()
    await settle()
    changed = msgspec.structs.replace(await stage.endpoint("ep"), version=5, description="by another writer")
    stage.store.states = {"endpoint/ep": registry.encode(changed) or b""}
    stage.store.elected.set()
    stage.store.give(
        command("c3", UpdateEndpoint("ep", {"status": "paused"}, 5)), command("c4", CreateEndpoint(endpoint("other")))
    )
    assert [reply.version for reply in await stage.store.replied("c3", "c4")] == [6, 1]
    assert (await stage.endpoint("ep")).description == "by another writer"
    assert stage.store.elections == 2


async def test_a_candidate_that_is_not_chosen_writes_nothing(stage: Stage) -> None:
    stage.store.elected.clear()
    stage.start()
    stage.store.give(command("c1", CreateEndpoint(endpoint())))
    await settle()
    assert stage.store.transactions == []
    assert stage.role.ready() is None, "another one writes"


async def test_a_command_that_causes_a_defect_is_refused_and_the_next_one_applied(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = decisions.decide

    def broken(command: Command, *rest: Any) -> Any:
        return 1 // 0 if command.id == "c1" else decide(command, *rest)

    monkeypatch.setattr("app.roles.registry.role.decide", broken)
    stage.start()
    stage.store.give(
        b'{"id":"\xff"}',
        command("c1", CreateEndpoint(endpoint("ep_1"))),
        command("c2", CreateEndpoint(endpoint("ep_2"))),
    )
    first, second = await stage.store.replied("c1", "c2")
    assert (first.ok, first.code, second.ok) == (False, "defect", True)
    assert set(stage.store.states) == {"endpoint/ep_2"}


async def test_a_signature_scheme_and_a_secret_that_do_not_match_are_refused(
    stage: Stage,
) -> None:
    text, other = (KEYRING.seal(each, "acme/ep", 0) for each in ("any text!", "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="))
    stage.start()
    stage.store.give(
        command("create", CreateEndpoint(endpoint("bad", secrets=()))),
        command("create bota", CreateEndpoint(endpoint(profile="bota", secrets=(text,)))),
        command("patch", UpdateEndpoint("ep", {"signature": "standard"})),
        command("over Kafka", UpdateEndpoint("ep", {"secrets": []})),
        command("overlap", RotateSecret("ep", other, stage.clock.now_ms() + 60_000)),
        command("early", UpdateEndpoint("ep", {"signature": "standard"})),
        command("at once", RotateSecret("ep", other, stage.clock.now_ms())),
        command("late", UpdateEndpoint("ep", {"signature": "standard"})),
        command("unsigned", RotateSecret("ep", None, stage.clock.now_ms())),
        command("back", RotateSecret("ep", text, stage.clock.now_ms() + 60_000)),
        command("else", UpdateEndpoint("ep", {"description": "no part of it"})),
    )
    names = (
        "create",
        "create bota",
        "patch",
        "over Kafka",
        "overlap",
        "early",
        "at once",
        "late",
        "unsigned",
        "back",
        "else",
    )
    replies = dict(zip(names, await stage.store.replied(*names), strict=True))
    accepted = {name for name, reply in replies.items() if reply.ok}
    assert accepted == {"create bota", "overlap", "at once", "late", "else"}
    assert all((reply.detail or "").startswith("signature: ") for reply in replies.values() if not reply.ok)


async def test_a_tenant_cannot_exceed_its_limits(stage: Stage) -> None:
    stage.role = RegistryRole(
        store=lambda: stage.store,
        clock=stage.clock,
        meter=stage.meter,
        profiles=PROFILES,
        most=TenantLimits(endpoints=3, keys=2, event_types=1),
    )
    keys = [ApiKey(id=f"key_{n}", tenant="acme", mode="live", digest=f"{n:064}", last4="abcd") for n in range(3)]
    types = [EventType(name=name, tenant="acme", mode="test") for name in ("a.b", "a.c", "a.b")]
    stage.start()
    stage.store.give(
        *(command(f"e{n}", CreateEndpoint(endpoint(f"ep{n}", mode="live" if n else "test"))) for n in range(4)),
        *(command(f"k{n}", CreateKey(key)) for n, key in enumerate(keys)),
        *(command(f"t{n}", PutEventType(event_type)) for n, event_type in enumerate(types)),
        command("other", CreateEndpoint(endpoint("ep9", tenant="other"))),
        command("gone", RemoveEndpoint("ep0")),
        command("e5", CreateEndpoint(endpoint("ep5"))),
        command("revoked", RevokeKey("key_0")),
        command("k5", CreateKey(keys[2])),
        command("removed", RemoveEventType("acme", "test", "a.b")),
        command("t5", PutEventType(types[1])),
    )
    refused = {"e3": "ENDPOINTS", "k2": "KEYS", "t1": "EVENT_TYPES"}
    names = (*(f"e{n}" for n in range(4)), *(f"k{n}" for n in range(3)), *(f"t{n}" for n in range(3)), "other")
    later = ("gone", "e5", "revoked", "k5", "removed", "t5")
    for name, reply in zip((*names, *later), await stage.store.replied(*names, *later), strict=True):
        assert reply.ok is (name not in refused), (name, reply)
        if name in refused:
            assert reply.code == "limit_reached"
            assert f"HOOKSTREAM_MAX_{refused[name]}_PER_TENANT" in (reply.detail or "")


async def test_a_large_tenant_is_removed_in_bounded_transactions_between_other_commands(stage: Stage) -> None:
    held = 2_500
    stage.store.states["tenant/acme"] = registry.encode(Tenant(id="acme")) or b""
    for number in range(held):
        each = endpoint(f"ep_{number:05}")
        stage.store.states[f"endpoint/{each.id}"] = registry.encode(each) or b""
    sizes = observed(stage.store)
    stage.start()
    stage.store.give(command("c1", DeleteTenant("acme")))
    (reply,) = await stage.store.replied("c1")
    assert reply.ok and reply.version == 2
    stage.store.give(command("c2", PutTenant(Tenant(id="other"))))
    stage.store.give(command("c3", CreateEndpoint(endpoint("ep_late"))))
    put, late = await stage.store.replied("c2", "c3")
    assert put.ok and late.code == "tenant_deleted"
    await stage.store.pulse.until(lambda: len(stage.store.states) == 2)
    assert set(stage.store.states) == {"tenant/acme", "tenant/other"}
    assert max(sizes) <= 1_000 and sum(sizes) == held + 2
    (deletion,) = (msgspec.json.decode(entry) for tenant, entry in stage.store.entries if tenant == "acme")
    assert (deletion["action"], deletion["actor"]) == ("tenant.delete", "unknown")
    assert deletion["detail"] == "2500 endpoints, 0 keys and 0 event types with it"


async def test_a_new_writer_goes_on_removing_what_a_deleted_tenant_holds(stage: Stage) -> None:
    stage.store.states["tenant/acme"] = registry.encode(Tenant(id="acme", deleted_at_ms=5)) or b""
    stage.store.states["endpoint/ep"] = registry.encode(endpoint()) or b""
    stage.start()
    stage.store.give(command("c1", PutTenant(Tenant(id="other"))))
    await stage.store.pulse.until(lambda: "endpoint/ep" not in stage.store.states)
    assert set(stage.store.states) == {"tenant/acme", "tenant/other"}
    assert stage.store.transactions[-1] == 1, "the offset of the commands stays"


def observed(store: MemoryStore) -> list[int]:
    """The numbers of states of the transactions from now on."""
    sizes: list[int] = []
    commit = store.commit

    async def counted(states: Any, entries: Any, replies: Any, next_offset: int) -> None:
        sizes.append(len(states))
        await commit(states, entries, replies, next_offset)

    store.commit = counted  # type: ignore[method-assign]
    return sizes
