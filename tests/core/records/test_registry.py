"""Commands and states survive their topics; foreign records are refused or skipped."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.tenant import Tenant
from app.core.records import command as command_record
from app.core.records import registry
from app.core.records.command import CommandAction, CreateEndpoint, PutTenant, RemoveEndpoint, UpdateEndpoint
from tests.core.records.full_values import full
from tests.core.records.golden_kinds import REGISTERED
from tests.roles.registry.registry_stage import (
    ENDPOINT,
    changed,
    directory,
)


@pytest.mark.parametrize(("key", "value"), [("quota/k1", b"{"), ("type/a", None), ("", None), ("endpoints", b"x")])
def test_records_of_a_later_version_are_ignored(key: str, value: bytes | None) -> None:
    where = directory(ENDPOINT)
    registry.apply(where, key, value)
    assert where.endpoints() == [ENDPOINT]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"id":"c","issued_at_ms":1,"action":{"type":"x"}}',
        b"\xff",
        b'{"id":"\xff"}',
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_another_value_is_an_unreadable_command(value: bytes | None) -> None:
    with pytest.raises(CommandRefused) as caught:
        registry.read_command(value)
    assert (caught.value.code, bool(caught.value.detail)) == ("unreadable", True)


TEXT = st.text(max_size=10)


VERSIONS = st.none() | st.integers(0, 9)


ACTIONS = st.one_of(
    st.builds(CreateEndpoint, st.builds(changed, description=TEXT, metadata=st.dictionaries(TEXT, TEXT, max_size=3))),
    st.builds(UpdateEndpoint, TEXT, st.dictionaries(TEXT, TEXT | VERSIONS, max_size=4), VERSIONS),
    st.builds(RemoveEndpoint, TEXT, VERSIONS),
    st.builds(PutTenant, st.builds(Tenant, id=TEXT, name=TEXT)),
)


@given(TEXT, st.integers(0, 2**62), ACTIONS)
def test_a_command_is_decoded_as_it_was_encoded(id_: str, issued_at_ms: int, action: CommandAction) -> None:
    command = command_record.Command(id=id_, issued_at_ms=issued_at_ms, action=action)
    assert registry.read_command(registry.encode(command)) == command


@pytest.mark.parametrize("key", ["endpoint/ep_2", "tenant/ep_2", "replay/ep_1", "type/acme/live/ep_1"])
def test_a_state_under_another_key_is_refused(key: str) -> None:
    filled = directory(ENDPOINT)
    with pytest.raises(ValueError, match=r"."):
        registry.apply(filled, key, registry.encode(ENDPOINT))
    assert filled.endpoint("ep_1") == ENDPOINT and filled.endpoint("ep_2") is None


def entities(where: Directory) -> tuple[Any, ...]:
    return (
        where.endpoints(),
        where.tenants,
        where.deleted_tenants,
        where.keys,
        where.keys_by_digest,
        where.event_types,
        where.replays,
        where.revisions,
        where.erasures.by_id,
        where.erasures.keys,
    )


@pytest.mark.parametrize("kind", get_args(registry.RegistryEntity))
def test_the_writers_copy_of_a_directory_has_entities_of_every_kind(kind: Any) -> None:
    value = full(kind)
    own = f"{value.tenant}/{value.mode}/{value.name}" if hasattr(value, "schema") else value.id
    first, copy = Directory(), Directory(matches=False)
    registry.apply(first, f"{REGISTERED[kind]}/{own}", registry.encode(value))
    for _ in copy.copied(first):
        pass
    assert entities(copy) == entities(first) != entities(Directory())
