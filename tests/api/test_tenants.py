"""Tenants over the API: a change keeps what it does not name, and a deletion leaves only its record."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.problems import ApiError
from app.api.server.authentication import OPERATOR, Authenticator
from app.core.errors import CommandRefused
from app.core.model.tenant import ApiKey, Brand, Tenant
from app.core.records.command import CommandAction, CommandReply, PutTenant
from app.core.topics.names import TopicName
from tests.api.read_stage import Stage

ACME = Tenant(
    id="acme",
    name="Acme",
    notify_emails=("a@acme.example",),
    brand=Brand(name="A"),
    metadata={"plan": "gold"},
    open_catalogue=True,
    version=2,
)


@pytest.fixture
async def stage() -> Stage:
    made = Stage()
    made.feed.directory.put_tenant(ACME)
    return made


async def ask(stage: Stage, name: str, body: Any = None, of: str = "acme") -> Any:
    return await stage.ask(name, body, caller=OPERATOR, of=of)


async def test_a_patch_keeps_what_it_does_not_name(stage: Stage) -> None:
    shown = await ask(stage, "tenants.patch", {"name": "Acme Ltd"})
    assert (shown["name"], shown["notify_emails"], shown["metadata"]) == ("Acme Ltd", ["a@acme.example"], ACME.metadata)
    assert (shown["brand"]["name"], shown["version"], shown["deleted_at"]) == ("A", 3, None)
    shown = await ask(stage, "tenants.patch", {"brand": None, "metadata": {"plan": "free", "crm": "7"}})
    assert (shown["brand"], shown["metadata"]) == (None, {"plan": "free", "crm": "7"})
    shown = await ask(stage, "tenants.patch", {"notify_emails": ["b@acme.example"], "brand": {"color": "#112233"}})
    assert (shown["notify_emails"], shown["brand"]["color"]) == (["b@acme.example"], "#112233")
    assert (await ask(stage, "tenants.get"))["metadata"] == {"plan": "free", "crm": "7"}


async def test_a_put_replaces_all_fields(stage: Stage) -> None:
    assert (await ask(stage, "tenants.put", {"id": "acme"}))["metadata"] == {}


async def test_a_patch_that_was_overtaken_is_tried_again_unless_it_names_a_version(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, overtaken = stage.call, [True]

    async def overtaking(action: CommandAction, **rest: Any) -> CommandReply:
        if overtaken.pop() if overtaken else False:
            await call(PutTenant(Tenant(id="acme", name="theirs", metadata={"plan": "iron"})), entity="acme")
        return await call(action, **rest)

    monkeypatch.setattr(stage, "call", overtaking)
    shown = await ask(stage, "tenants.patch", {"name": "mine"})
    assert (shown["name"], shown["metadata"]) == ("mine", {"plan": "iron"})
    overtaken.append(True)
    stage.headers = {"if-match": '"4"'}
    with pytest.raises(CommandRefused) as caught:
        await ask(stage, "tenants.patch", {"name": "mine again"})
    assert caught.value.code == "conflict"


async def test_a_deleted_tenant_is_shown_as_deleted_and_nothing_of_it_is_left(stage: Stage) -> None:
    directory = stage.feed.directory
    directory.put_key(ApiKey(id="k1", tenant="acme", mode="live", digest="0" * 64, last4="0000"))
    stage.endpoint("fifo", ordering="fifo", mode="test")
    deleted = await ask(stage, "tenants.delete")
    assert (deleted["id"], deleted["remaining"]) == ("acme", 0) and deleted["deleted_at"]
    assert (len(directory), directory.keys, directory.tenants) == (0, {}, {})
    assert [each.key for each in stage.log.of(TopicName.DELIVERIES_ORDERED)] == [b"fifo"]
    shown = await ask(stage, "tenants.get")
    assert (shown["name"], shown["notify_emails"], shown["metadata"]) == ("", [], {})
    assert shown["deleted_at"] == deleted["deleted_at"]
    assert (await ask(stage, "tenants.list"))["data"] == []
    assert await ask(stage, "tenants.delete") == deleted, "a repetition changes nothing"
    for name, body in (
        ("tenants.patch", {"name": "x"}),
        ("tenants.put", {"id": "acme"}),
        ("tenants.create_key", {"mode": "live"}),
    ):
        with pytest.raises(ApiError) as caught:
            await ask(stage, name, body)
        assert (caught.value.status, caught.value.code) == (409, "tenant_deleted")
    assert await stage.refused("tenants.list_keys", caller=OPERATOR, of="acme") == (404, "not_found")
    with pytest.raises(CommandRefused) as refused:
        await ask(stage, "tenants.create", {"id": "acme"})
    assert refused.value.code == "tenant_deleted"


async def test_a_request_waits_only_for_a_bounded_time_for_what_is_still_to_be_removed(stage: Stage) -> None:
    for number in range(150):
        stage.endpoint(f"ep_{number:03}")
    assert (await ask(stage, "tenants.delete"))["remaining"] == 51


async def test_a_key_of_a_deleted_tenant_is_refused_before_it_is_removed(stage: Stage) -> None:
    directory = stage.feed.directory
    digest = "2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90"  # of "alice"
    directory.put_key(ApiKey(id="k1", tenant="acme", mode="live", digest=digest, last4="lice"))
    gate = Authenticator(stage.feed, None)
    digest_of = next(iter(directory.keys_by_digest))
    assert digest_of == digest
    assert gate.caller("Bearer alice", 0).tenant == "acme"
    directory.put_tenant(Tenant(id="acme", deleted_at_ms=5))
    with pytest.raises(ApiError) as caught:
        gate.caller("Bearer alice", 0)
    assert caught.value.status == 401


async def test_an_unknown_and_the_default_tenant_are_not_deleted(stage: Stage) -> None:
    stage.feed.directory.put_tenant(Tenant(id="default"))
    for name, code in (("nobody", "not_found"), ("default", "default_tenant")):
        with pytest.raises(CommandRefused) as caught:
            await ask(stage, "tenants.delete", of=name)
        assert caught.value.code == code
