"""schemas/asyncapi.yaml is AsyncAPI 3.0, and says what Hookstream writes, reads and sends."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from app.core.model.delivery import Delivery
from app.core.model.endpoint import Endpoint, SealedSecret
from app.core.records import dead_letter, delivery, duplicate, raw_event, rejected
from app.core.topics.names import TopicName
from app.data import ASYNCAPI
from app.profiles.catalog import PROFILES
from app.profiles.requests import RequestBuilder
from app.roles.dispatch.attempts import unsent
from app.roles.dispatch.role.settler import _death_headers
from tests.architecture.asyncapi_doc import EVENT_HEADERS, text
from tests.architecture.test_openapi import TYPES, nodes
from tests.architecture.test_record_schemas import _ATTEMPT, _DUPLICATE

SPECIFICATION = json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text("utf-8"))
DOCUMENT: dict[str, Any] = yaml.safe_load(ASYNCAPI.read_text("utf-8"))
MESSAGES = DOCUMENT["components"]["messages"]
_ENDPOINT = Endpoint(
    id="ep_1",
    tenant="acme",
    mode="live",
    url="https://a.example",
    events=("*",),
    profile="standard",
    secrets=(SealedSecret(key_id="k", blob="", created_at_ms=0),),
)
_DELIVERY = Delivery(
    id="dlv_1",
    endpoint_id="ep_1",
    event_id="e1",
    event_type="a.b",
    tenant="acme",
    mode="live",
    created_at="2026-01-01",
    body=b'{"data":{}}',
    accepted_at_ms=1,
    attempts=2,
    due_at_ms=3,
    sequence=1,
    ordering_key="k",
    replay_id="rpl_1",
    traceparent="00-0-0-00",
    source="0:7",
)


def validator(schema: Any) -> Any:
    """Of one schema of the document, with the components it refers to."""
    return jsonschema_rs.Draft7Validator({"components": DOCUMENT["components"], "allOf": [schema]})


def resolved(pointer: str) -> Any:
    """What a reference of the document leads to."""
    value: Any = DOCUMENT
    for name in pointer.removeprefix("#/").split("/"):
        value = value[name]
    return value


def test_the_file_equals_the_generated_one() -> None:
    assert ASYNCAPI.read_text("utf-8") == text(), "run: .venv/bin/python -m tests.architecture.asyncapi_doc"


def test_it_is_asyncapi() -> None:
    check = jsonschema_rs.Draft7Validator(SPECIFICATION)
    assert [str(error) for error in check.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize("part", ["channels", "operations", "components"])
def test_the_specification_notices_a_mistake(part: str) -> None:
    wrong = copy.deepcopy(DOCUMENT)
    first = next(iter(wrong[part].values()))
    (next(iter(first.values())) if part == "components" else first)["adress"] = "a"
    assert not jsonschema_rs.Draft7Validator(SPECIFICATION).is_valid(wrong)


def test_references_lead_somewhere_and_every_component_is_used() -> None:
    used = {node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}
    for pointer in used:
        assert resolved(pointer) is not None
    assert {
        f"#/components/{part}/{name}" for part in DOCUMENT["components"] for name in resolved(f"#/components/{part}")
    } <= used
    assert {f"#/channels/{name}" for name in DOCUMENT["channels"]} <= used


def test_every_event_type_of_every_profile_is_a_message_of_its_channel() -> None:
    listed = {
        (profile, name.removeprefix(f"{profile}."))
        for profile in PROFILES
        for name in DOCUMENT["channels"][f"webhooks.{profile}"]["messages"]
    }
    assert listed == set(TYPES)


def test_the_topics_are_those_that_other_systems_use() -> None:
    directions = {
        operation["channel"]["$ref"].removeprefix("#/channels/"): operation["action"]
        for operation in DOCUMENT["operations"].values()
    }
    topics = {name: action for name, action in directions.items() if not name.startswith("webhooks.")}
    assert topics == {
        TopicName.EVENTS_RAW: "receive",
        TopicName.EVENTS_REJECTED: "send",
        TopicName.EVENTS_DUPLICATES: "send",
        TopicName.ATTEMPTS: "send",
        TopicName.DELIVERIES_DEAD: "send",
        TopicName.NOTICES: "send",
        TopicName.AUDIT: "send",
    }


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_are_valid(name: str) -> None:
    for example in MESSAGES[name].get("examples", ()):
        validator(MESSAGES[name]["payload"]).validate(example["payload"])


@pytest.mark.parametrize(("profile", "event_type"), TYPES)
def test_a_webhook_has_the_headers_of_its_message(profile: str, event_type: str) -> None:
    builder = RequestBuilder(lambda _secret, _owner: "whsec_AAAA", 1.0, lambda _secret, _owner: lambda _message: b"")
    endpoint = msgspec.structs.replace(_ENDPOINT, profile=profile)
    sent = dict(builder.request(_DELIVERY, endpoint, builder.prepared(endpoint, 1), 1).headers)
    headers = MESSAGES[f"{profile}.{event_type}"]["headers"]
    validator(headers).validate(sent)
    declared = resolved(headers["$ref"])
    assert set(sent) - {"content-type"} == set(declared["properties"])
    for name in declared["required"]:
        assert not validator(headers).is_valid({key: value for key, value in sent.items() if key != name})


def test_the_headers_of_events_are_those_that_are_read() -> None:
    assert set(EVENT_HEADERS) == raw_event._HEADERS - {"content-type"}
    binary = MESSAGES["events.raw.cloudevents-binary"]["headers"]
    assert set(binary["required"]) == raw_event._BINARY
    attributes = {f"ce_{name}" for name in raw_event._CloudEvent.__struct_fields__ if not name.startswith("data")}
    assert attributes <= set(binary["properties"])


@pytest.mark.parametrize(
    ("topic", "headers"),
    [
        (
            "events.rejected",
            rejected.write(
                rejected.RejectedNotice(
                    reason="not_json", detail="x", topic="events.raw", partition=0, offset=1, timestamp=2
                )
            ),
        ),
        ("events.duplicates", duplicate.write(_DUPLICATE)),
        ("deliveries.dead", delivery.encode(_DELIVERY) + _death_headers(_ATTEMPT, "exhausted", 1)),
        ("deliveries.dead", delivery.encode(_DELIVERY) + dead_letter.PARKED),
    ],
    ids=["rejected", "duplicate", "dead", "parked"],
)
def test_records_have_the_headers_of_their_message(topic: str, headers: list[tuple[str, bytes]]) -> None:
    named = {name: value.decode() for name, value in headers}
    schema = MESSAGES[topic]["headers"]
    validator(schema).validate(named)
    declared = resolved(schema["$ref"]) if "$ref" in schema else schema
    assert set(named) <= set(declared["properties"])
    for name in declared["required"]:
        assert not validator(schema).is_valid({key: value for key, value in named.items() if key != name})


def test_every_header_of_a_dead_letter_has_a_meaning() -> None:
    properties = MESSAGES["deliveries.dead"]["headers"]["properties"]
    assert set(delivery._OPTIONAL) | {name for name, _ in delivery.encode(_DELIVERY)} <= set(properties)
    assert all(len(each["description"]) > 5 for each in properties.values())


def test_an_attempt_is_a_message() -> None:
    attempt = unsent(_DELIVERY, _ENDPOINT, "cancelled", "endpoint_removed", "it is gone", 1)
    written = msgspec.json.decode(msgspec.json.encode(attempt))
    check = validator(MESSAGES["attempts"]["payload"])
    check.validate(written)
    assert not check.is_valid({key: part for key, part in written.items() if key != "delivery_id"})
