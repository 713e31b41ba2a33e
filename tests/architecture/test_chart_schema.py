"""The values of the Helm chart name the settings of the code, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from app.settings import Settings
from tests.architecture import chart_schema

CHART = chart_schema.FILE.parent
VALUES = CHART / "values.yaml"
#: settings that the templates derive
GIVEN = chart_schema.MANAGED | chart_schema.secrets()


def test_the_schema_is_up_to_date() -> None:
    assert chart_schema.FILE.read_text(encoding="utf-8") == chart_schema.generated(), "run: make generate"
    assert chart_schema.NAMES.read_text(encoding="utf-8") == chart_schema.names(), "run: make generate"


def test_settings_that_the_templates_derive_exist() -> None:
    assert {name.lower() for name in chart_schema.MANAGED} <= set(Settings.__struct_fields__)


def test_no_secret_can_be_given_as_a_plain_setting() -> None:
    schema = json.loads(chart_schema.FILE.read_text(encoding="utf-8"))
    assert not chart_schema.secrets() & set(schema["$defs"]["settings"]["properties"])


def open_places(part: Any, path: str) -> Iterator[str]:
    """Where a schema would accept an object with names that it does not have."""
    if not isinstance(part, dict) or "$ref" in part or "enum" in part:
        return
    kinds = part.get("type", [])
    inner = {**part.get("properties", {}), "*": part.get("items")}
    if "properties" in part or "object" in kinds:
        rest = part.get("additionalProperties")
        if rest is not False and not isinstance(rest, dict):
            yield path
        inner["**"] = rest
    elif "array" in kinds and "items" not in part:
        yield path
    for name, each in inner.items():
        yield from open_places(each, f"{path}.{name}")


def test_the_schema_refuses_what_it_does_not_name_at_every_depth() -> None:
    schema = json.loads(chart_schema.FILE.read_text(encoding="utf-8"))
    places = [*open_places({**schema, "$defs": {}}, "values")]
    places += [place for name, part in schema["$defs"].items() for place in open_places(part, name)]
    # what a parent chart shares with all its parts, and what Kubernetes writes itself
    assert places == ["values.global", "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"]


def test_values_yaml_names_every_setting_that_the_templates_derive() -> None:
    named = set(re.findall(r"HOOKSTREAM_([A-Z_]*[A-Z])", VALUES.read_text(encoding="utf-8")))
    assert named == GIVEN


def test_templates_name_no_other_settings() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").rglob("*.*"))
    named = {name.removesuffix("_FILE") for name in re.findall(r"HOOKSTREAM_([A-Z_]*[A-Z])\b", text)}
    given = {name.removesuffix("_FILE") for name in GIVEN}
    assert named - given == {"API_CONNECTIONS_PER_ADDRESS"}, "a value in values.yaml says what is set"
    assert given - named == {"CACHE_DIR", "KAFKA_PORT"}, "these are of the embedded broker"


def test_values_yaml_explains_every_value() -> None:
    schema = json.loads(chart_schema.FILE.read_text(encoding="utf-8"))

    def names(part: dict[str, Any]) -> Iterator[str]:
        for name, each in part.get("properties", {}).items():
            yield name
            yield from names(each)

    words = set(re.findall(r"\w+", VALUES.read_text(encoding="utf-8")))
    assert set(names(schema)) | set(names(schema["$defs"]["role"])) <= words | {"global"}
