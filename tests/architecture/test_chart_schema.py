"""The values of the Helm chart name the settings of the code, and no other."""

from __future__ import annotations

import json

from app.settings import Settings
from tests.architecture import chart_schema


def test_the_schema_is_up_to_date() -> None:
    assert chart_schema.FILE.read_text(encoding="utf-8") == chart_schema.generated(), "run: make generate"


def test_settings_that_the_templates_derive_exist() -> None:
    assert {name.lower() for name in chart_schema.MANAGED} <= set(Settings.__struct_fields__)


def test_no_secret_can_be_given_as_a_plain_setting() -> None:
    schema = json.loads(chart_schema.FILE.read_text(encoding="utf-8"))
    assert not chart_schema.secrets() & set(schema["$defs"]["settings"]["properties"])


def test_the_schema_refuses_what_it_does_not_name() -> None:
    def closed(part: dict[str, object]) -> bool:
        inner = part.get("properties")
        rest = [each for each in inner.values() if isinstance(each, dict)] if isinstance(inner, dict) else []
        return (inner is None or part.get("additionalProperties") is False) and all(map(closed, rest))

    schema = json.loads(chart_schema.FILE.read_text(encoding="utf-8"))
    assert closed(schema) and all(map(closed, schema["$defs"].values()))
