"""Every setting of an endpoint is in the API, the commands, the form and the document, from its one declaration."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from typer.main import get_command

from app.api.contract.webhooks import Webhook, WebhookIn, WebhookPatch
from app.cli.main import program
from app.core.model.endpoint import Endpoint
from app.core.model.endpoint_settings import FIELDS, NAMES, RULES, meta_of, surface_of
from app.roles.registry.decisions import CHANGEABLE
from tests.architecture import endpoint_fields_doc
from tests.dashboard.stage import KEYS, browser, open_stage


def options(command: str) -> set[str]:
    """The options of `hookstream endpoints COMMAND`."""
    endpoints: Any = get_command(program(["endpoints"])).commands["endpoints"]  # type: ignore[attr-defined]
    return {option for parameter in endpoints.commands[command].params for option in parameter.opts}


@pytest.mark.parametrize("kind", [Endpoint, Webhook, WebhookIn, WebhookPatch])
def test_every_body_and_the_record_have_every_setting(kind: type[msgspec.Struct]) -> None:
    assert set(NAMES) <= {field.encode_name for field in msgspec.structs.fields(kind)}


def test_every_setting_can_be_changed_and_has_an_option() -> None:
    assert set(NAMES) <= CHANGEABLE
    wanted = {surface_of(field).option for field in FIELDS}
    assert wanted <= options("update")
    assert wanted - {"--new-url"} <= options("add")


async def test_the_form_has_every_setting() -> None:
    async with open_stage() as stage, browser(stage, KEYS["acme", "live"]) as acme:
        _, page, _ = await acme.get("/ui/t/acme/live/endpoints/new")
    for field in FIELDS:
        name = "types" if surface_of(field).widget == "types" else field.name
        assert f'name="{name}"' in page, field.name


def test_every_setting_is_described_and_every_rule_has_a_setting() -> None:
    assert all(meta_of(field).description for field in FIELDS)
    assert RULES.keys() <= set(NAMES)


def test_the_document_agrees_with_the_code() -> None:
    assert endpoint_fields_doc.SECTION.read() == endpoint_fields_doc.generated(), "run: make generate"
