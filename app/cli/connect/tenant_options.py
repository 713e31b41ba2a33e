"""The tenant and mode that a command acts for: those of the key, or those that the operator names."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from app.cli.connect.api_connection import api_for_anybody, the_api
from app.cli.connect.api_target import ApiTarget


class ModeChoice(StrEnum):
    """The value of `--mode`."""

    live = "live"
    test = "test"


TenantOption = Annotated[
    str | None,
    typer.Option(metavar="T", help="Act for this tenant with the operator's token. A tenant's key implies its tenant."),
]
ModeOption = Annotated[ModeChoice | None, typer.Option(help="With --tenant.", show_default="live")]


def address(tenant: str | None, mode: ModeChoice | None) -> ApiTarget:
    """The API, with the tenant and mode to act for."""
    if tenant is None:
        if mode is not None:
            raise typer.BadParameter("--mode belongs to --tenant: a key has its mode")
        return the_api()
    return msgspec.structs.replace(the_api(operator=True), acting_for=(tenant, (mode or ModeChoice.live).value))


def read_address(tenant: str | None, mode: ModeChoice | None) -> ApiTarget:
    """As `address`; without `--tenant` and without a key, the operator's token reads what belongs to all tenants."""
    return api_for_anybody() if tenant is None and mode is None else address(tenant, mode)
