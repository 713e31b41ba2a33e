"""Endpoints over Kafka: what is refused before a command is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from app.cli.connect import endpoints_over_kafka
from app.cli.connect.registry_session import RegistrySession
from app.core.directory import Directory
from app.core.errors import CommandRefused
from app.core.model.tenant import Tenant


class ReadOnlySession:
    """`RegistrySession` to which no command may be sent."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.directory.tenants["acme"] = Tenant(id="acme")


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def connected() -> AsyncIterator[RegistrySession]:
        yield cast(RegistrySession, ReadOnlySession())

    monkeypatch.setattr(endpoints_over_kafka, "session", connected)


async def refusal(**fields: object) -> CommandRefused:
    values = {"url": "https://example.com/", "events": ("*",), "tenant": "acme", "mode": "live"} | fields
    with pytest.raises(CommandRefused) as refused:
        await endpoints_over_kafka.create(values, None, unsigned=False)
    return refused.value


async def test_a_tenant_with_a_typo_is_refused_and_the_list_of_tenants_is_named() -> None:
    error = await refusal(tenant="amce")
    assert error.code == "not_found"
    assert "there is no tenant amce: hookstream tenants add amce" in error.detail
    assert "hookstream tenants list" in error.detail


async def test_every_field_that_does_not_fit_is_named() -> None:
    error = await refusal(timeout=-1, mode="production")
    assert error.code == "invalid"
    assert {pointer for pointer, _ in error.problems} == {"/timeout", "/mode"}
