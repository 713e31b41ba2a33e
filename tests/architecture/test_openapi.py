"""schemas/openapi.json is the document of the code's own types; `python -m tests.architecture.test_openapi` writes."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.server.openapi import document
from app.api.server.routes import ROUTES
from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, SealedSecret
from app.profiles.catalog import PROFILES, load_catalogue
from app.profiles.requests import RequestBuilder

ROOT = Path(__file__).parents[2]
FILE = ROOT / "schemas" / "openapi.json"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
CATALOGUE = load_catalogue(ROOT / "schemas" / "events")
DOCUMENT = document(CATALOGUE, version=VERSION)
TYPES = [(profile, event_type) for profile, entries in CATALOGUE.items() for event_type in entries]


def text() -> str:
    return json.dumps(DOCUMENT, indent=2, ensure_ascii=False) + "\n"


def nodes(value: Any, path: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document, with its JSON Pointer."""
    if isinstance(value, dict):
        yield path, value
        for name, part in value.items():
            yield from nodes(part, f"{path}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from nodes(part, f"{path}/{index}")


def validator(schema: Any) -> Any:
    """Of one schema of the document, with the components it refers to."""
    return jsonschema_rs.Draft202012Validator({"components": DOCUMENT["components"], "allOf": [schema]})


def operation(name: str) -> dict[str, Any]:
    """The operation of a route."""
    return next(found for path in DOCUMENT["paths"].values() for found in path.values() if found["operationId"] == name)


def parameter(given: dict[str, Any]) -> dict[str, Any]:
    """A parameter, its reference followed."""
    if "$ref" in given:
        found: dict[str, Any] = DOCUMENT["components"]["parameters"][given["$ref"].rpartition("/")[2]]
        return found
    return given


def test_the_file_equals_the_generated_one() -> None:
    assert FILE.read_text(encoding="utf-8") == text(), "run: .venv/bin/python -m tests.architecture.test_openapi"


def test_it_is_openapi() -> None:
    OpenAPIV31SpecValidator(json.loads(text())).validate()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_is_an_operation(route: Any) -> None:
    found = DOCUMENT["paths"][route.path][route.method.lower()]
    assert found["operationId"] == route.name
    assert found["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    given = [parameter(each) for each in found.get("parameters", [])]
    assert [each["name"] for each in given if each["in"] == "path"] == re.findall(r"\{(\w+)\}", route.path)
    assert [each["name"] for each in given if each["in"] == "query"] == list(route.query)
    assert ("Idempotency-Key" in {each["name"] for each in given}) is (route.method == "POST")
    assert str(route.status) in found["responses"]
    assert ("content" in found["responses"][str(route.status)]) is (route.gives is not None)
    assert ("401" in found["responses"]) is (route.access != "anyone")


def test_there_is_no_other_operation_of_v1() -> None:
    documented = {
        (method.upper(), path)
        for path, methods in DOCUMENT["paths"].items()
        if path.startswith(("/v1/", "/.well-known/"))
        for method in methods
    }
    assert documented == {(route.method, route.path) for route in ROUTES}


def test_a_change_of_a_version_can_name_it() -> None:
    conditional = {
        name
        for name in (route.name for route in ROUTES)
        if "If-Match" in {parameter(each)["name"] for each in operation(name).get("parameters", [])}
    }
    actions = {f"actions.{name}" for name in ("pause", "resume", "enable", "disable", "rotate", "rotate_key")}
    assert (
        conditional == {"webhooks.patch", "webhooks.delete", "tenants.put", "tenants.patch", "tenants.delete"} | actions
    )
    assert all("412" in operation(name)["responses"] for name in conditional)
    assert "ETag" in operation("webhooks.get")["responses"]["200"]["headers"]


def test_the_entries_of_a_page_have_a_type() -> None:
    schema = operation("webhooks.list")["responses"]["200"]["content"]["application/json"]["schema"]
    assert validator(schema).is_valid({"data": [], "next_cursor": None})
    assert not validator(schema).is_valid({"data": [{"id": "ep_1"}], "next_cursor": None})


@pytest.mark.parametrize("name", ["WebhookIn", "WebhookPatch"])
def test_request_examples_name_existing_profiles(name: str) -> None:
    check = validator({"$ref": f"#/components/schemas/{name}"})
    endpoint = {"url": "https://a.example", "events": ["*"]}
    for signature in (*PROFILES, None):
        assert check.is_valid(endpoint | {"signature": signature})
    assert not check.is_valid(endpoint | {"signature": "nobody"})


def test_names_of_operations_and_references_are_sound() -> None:
    names = [found["operationId"] for _, found in nodes(DOCUMENT) if isinstance(found.get("operationId"), str)]
    assert len(names) == len(set(names)) >= len(ROUTES) + len(TYPES)
    known = {path for path, _ in nodes(DOCUMENT)}
    assert {found["$ref"] for _, found in nodes(DOCUMENT) if isinstance(found.get("$ref"), str)} <= known


def test_every_component_is_used() -> None:
    used = {found["$ref"] for _, found in nodes(DOCUMENT) if isinstance(found.get("$ref"), str)}
    parts = ("schemas", "parameters", "headers", "responses")
    assert {f"#/components/{part}/{name}" for part in parts for name in DOCUMENT["components"][part]} <= used


@pytest.mark.parametrize(("profile", "event_type"), TYPES)
def test_every_event_type_is_a_webhook_as_its_profile_sends_it(profile: str, event_type: str) -> None:
    body = DOCUMENT["webhooks"][f"{profile}.{event_type}"]["post"]["requestBody"]["content"]["application/json"]
    check = validator(body["schema"])
    check.validate(body["example"])
    assert body["example"].get("type", body["example"].get("event")) == event_type
    for name in body["example"]:
        assert not check.is_valid({key: value for key, value in body["example"].items() if key != name})
    for name in {"type", "event"} & set(body["example"]):
        assert not check.is_valid(body["example"] | {name: "another.type"})


def test_there_is_no_webhook_without_an_event_type() -> None:
    assert set(DOCUMENT["webhooks"]) == {f"{profile}.{event_type}" for profile, event_type in TYPES}
    assert {profile for profile, _ in TYPES} == set(PROFILES)


def test_every_example_is_valid() -> None:
    seen = 0
    for path, found in nodes(DOCUMENT):
        if "/example" in path:
            continue
        examples = [found["example"]] if "schema" in found and "example" in found else []
        schema = found.get("schema", found)
        if isinstance(found.get("examples"), list):
            examples += found["examples"]
        for example in examples:
            validator(schema).validate(example)
            seen += 1
    assert seen > 2 * len(TYPES)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_header_of_a_delivery_is_a_parameter(profile: str) -> None:
    secret = SealedSecret(key_id="k", blob="", created_at_ms=0)
    endpoint = Endpoint(
        id="ep_1",
        tenant="acme",
        mode="live",
        url="https://a.example",
        events=("*",),
        profile=profile,
        secrets=(secret,),
    )
    delivery = Delivery(
        id="dlv_1",
        endpoint_id="ep_1",
        event_id="e1",
        event_type="a.b",
        tenant="acme",
        mode="live",
        created_at="2026-01-01",
        body=b'{"data":{}}',
        sequence=1,
        ordering_key="k",
        replay_id="rpl_1",
        traceparent="00-0-0-00",
    )
    builder = RequestBuilder(lambda _secret, _owner: "whsec_AAAA", 1.0, lambda _secret, _owner: lambda _message: b"")
    sent = {name for name, _ in builder.request(delivery, endpoint, builder.prepared(endpoint, 1), 1).headers}
    for name, entries in DOCUMENT["webhooks"].items():
        if name.startswith(f"{profile}."):
            given = [parameter(each) for each in entries["post"]["parameters"]]
            assert sent - {"content-type"} == {each["name"] for each in given}
            assert all(
                each["required"] is PROFILES[profile].secret_required for each in given if "Signature" in each["name"]
            )


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
