"""Generate schemas/asyncapi.yaml: what receivers get, and the topics that other systems write and read.

Webhooks are those of the OpenAPI document. Topics are those whose declaration names somebody beside Hookstream's roles.
`python -m tests.architecture.asyncapi_doc` writes the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from app.core.model.delivery import Delivery
from app.core.records import delivery, raw_event, rejected
from app.core.topics.declarations import TopicDeclaration
from app.data import ASYNCAPI, TOPICS
from app.profiles.catalog import PROFILES
from tests.architecture import record_schemas
from tests.architecture.field_sentences import sentences
from tests.architecture.test_openapi import CATALOGUE, DOCUMENT, VERSION, parameter

Json = dict[str, Any]

_ABOUT = """What Hookstream sends and receives as messages; the REST API is described in `/openapi.json`.

A webhook is a POST to the URL of an endpoint, which its owner chooses. There is one channel for each profile, and one
message for each event type of its catalogue; types that tenants declare are listed by `GET /v1/event-types`. Any
answer but 2xx means: try again later.

Topics have the names below after the installation's prefix (`HOOKSTREAM_TOPIC_PREFIX`). `send` and `receive` are
Hookstream's side: a producer sends what Hookstream receives. Fields and headers may be added at any time.
"""
#: who reads or writes a topic beside Hookstream's own roles and commands
_OUTSIDE_READERS, _OUTSIDE_WRITERS = frozenset(("anyone", "operators")), frozenset(("upstream",))
_TEXT: Json = {"type": "string"}
_WINS = "Takes precedence over the field of the value."
#: headers of events.raw
EVENT_HEADERS: Mapping[str, str] = {
    "tenant": f"The tenant that the event belongs to. {_WINS}",
    "mode": f"`live` or `test`. {_WINS}",
    "idempotency-key": f"Events with the same key are delivered once within the idempotency window. {_WINS}",
    "ordering-key": f"Events with the same key are numbered and, for ordered endpoints, delivered in sequence. {_WINS}",
    "subject": f"The person whom the data is about. {_WINS}",
    "channels": f"Comma-separated. Endpoints with channels receive the event if it carries one of theirs. {_WINS}",
    "deliver-at": f"ISO 8601 with date, time and zone: no attempt before it. {_WINS}",
    "expires-at": f"ISO 8601 with date, time and zone: no attempt from then on. {_WINS}",
    "traceparent": "W3C trace context; sent to receivers.",
}
_MEANINGS = {
    "id": "The event's id. Unique together with `source`.",
    "type": "The event's type: dot-joined segments of letters, digits, _ and -.",
    "source": "The context in which the event happened.",
    "specversion": "`1.0`.",
    "time": "RFC 3339. Default: the record's timestamp.",
    "data": "Any JSON. It is delivered byte for byte where the profile allows.",
    "data_base64": "JSON in base64, in place of `data`.",
    "idempotencykey": "As the header `idempotency-key`. Default: source and id.",
    **{name.replace("-", ""): f"As the header `{name}`." for name in ("ordering-key", "deliver-at", "expires-at")},
}
#: headers of deliveries and of deliveries.dead whose meaning is not that of a field of `Delivery`
_DELIVERY_HEADERS = {
    "delivery-id": "The delivery's id; the same after a retry.",
    "event-id": "The event's id.",
    "event-type": "The event's type.",
    "tenant": "The tenant of event and endpoint.",
    "mode": "`live` or `test`.",
    "created-at": "When the event happened: ISO 8601.",
    "format": "`native` (also if absent), `ce-structured` or `ce-binary`: the format of the value.",
    "sequence": "The event's number for its ordering key.",
    "ordering-key": "The event's ordering key.",
    "replay-id": "The id of the replay that created the delivery.",
    "traceparent": "W3C trace context, if the producer set it.",
}
_DEATH_HEADERS = {
    "reason": "Why the delivery ended; `paused`: it is not dead, but parked until its endpoint resumes.",
    "last-result": "The outcome of the last attempt, in the words of `attempts`.",
    "last-status": "The HTTP status of the last attempt.",
    "last-error": "What failed in the last attempt.",
    "died-at": "When the delivery ended, in milliseconds since the epoch.",
}
_EVENT_BYTES = "The bytes of the event, as in `events.raw`."


def document() -> Json:
    """The document as JSON values."""
    topics = list(_topics())
    return {
        "asyncapi": "3.0.0",
        "id": "urn:hookstream",
        "info": {
            "title": "Hookstream",
            "version": VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "webhooks"}, {"name": "topics"}],
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "{bootstrap}", "protocol": "kafka", "description": "The installation's Kafka."}
            | _variable("bootstrap", "localhost:9092", "`HOOKSTREAM_BOOTSTRAP_SERVERS`."),
            "receiver": {"host": "{receiver}", "protocol": "https", "description": "Where an endpoint's URL points."}
            | _variable("receiver", "receiver.example", "Host and port of the endpoint's URL."),
        },
        "channels": {f"webhooks.{name}": _webhooks(name) for name in PROFILES}
        | {topic.name: _channel(topic) for topic in topics},
        "operations": {f"deliver.{name}": _delivers(name) for name in PROFILES}
        | {name: operation for topic in topics for name, operation in _uses(topic)},
        "components": {"messages": _webhook_messages() | _record_messages(), "schemas": _schemas()},
    }


def text() -> str:
    """The file."""
    head = "# Written by `python -m tests.architecture`; do not edit.\n"
    return head + yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """Repeats what occurs twice: not every reader of AsyncAPI knows aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _block(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    """Texts of several lines as they are read."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _block)


def _variable(name: str, default: str, description: str) -> Json:
    return {"variables": {name: {"default": default, "description": description}}}


def _reference(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}


# Webhooks


def _webhooks(profile: str) -> Json:
    names = [f"{profile}.{event_type}" for event_type in sorted(CATALOGUE[profile])]
    return {
        "address": None,
        "title": f"Webhooks of the profile {profile}",
        "description": "The address is the URL of an endpoint.",
        "servers": [_reference("servers", "receiver")],
        "messages": {name: _reference("components", "messages", name) for name in names},
        "tags": [{"name": "webhooks"}],
    }


def _delivers(profile: str) -> Json:
    return {
        "action": "send",
        "channel": _reference("channels", f"webhooks.{profile}"),
        "summary": f"Deliver an event in the form of the profile {profile}.",
        "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
    }


def _webhook_messages() -> Json:
    messages: Json = {}
    for name, webhook in DOCUMENT["webhooks"].items():
        post = webhook["post"]
        content = post["requestBody"]["content"]["application/json"]
        profile = name.partition(".")[0]
        messages[name] = {
            "name": name,
            "title": post["summary"],
            "description": post["description"],
            "contentType": "application/json",
            "headers": _reference("components", "schemas", f"headers.{profile}"),
            "payload": _draft_07(content["schema"]),
            "examples": [{"payload": content["example"]}],
        }
    return messages


def _webhook_headers(profile: str) -> Json:
    """The headers of one profile; all of its event types have the same."""
    webhook = next(each for name, each in DOCUMENT["webhooks"].items() if name.startswith(f"{profile}."))
    headers = [parameter(each) for each in webhook["post"]["parameters"]]
    return {
        "type": "object",
        "properties": {each["name"]: {"description": each["description"], **_TEXT} for each in headers},
        "required": [each["name"] for each in headers if each["required"]],
    }


# Topics


def _topics() -> Iterator[TopicDeclaration]:
    """The declarations of topics that other systems use."""
    for path in sorted(TOPICS.glob("*.yaml")):
        declared = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), TopicDeclaration)
        if _OUTSIDE_READERS & set(declared.read_by) or _OUTSIDE_WRITERS & set(declared.written_by):
            yield declared


def _channel(topic: TopicDeclaration) -> Json:
    config = topic.config
    bindings: Json = {
        "topicConfiguration": {
            "cleanup.policy": str(config["cleanup.policy"]).split(","),
            **{name: config[name] for name in ("retention.ms",) if name in config},
        },
        "bindingVersion": "0.5.0",
    }
    return {
        "address": topic.name,
        "description": f"Key: {topic.key}. Value: {topic.value}. Retention: {topic.why}.",
        "servers": [_reference("servers", "kafka")],
        "messages": {name: _reference("components", "messages", name) for name in _records(topic.name)},
        "bindings": {"kafka": bindings},
        "tags": [{"name": "topics"}],
    }


def _uses(topic: TopicDeclaration) -> Iterator[tuple[str, Json]]:
    channel = _reference("channels", topic.name)
    if _OUTSIDE_WRITERS & set(topic.written_by):
        summary = "Read what producers append."
        yield f"receive.{topic.name}", {"action": "receive", "channel": channel, "summary": summary}
    if readers := [name for name in topic.read_by if name in _OUTSIDE_READERS]:
        summary = f"Append records for {' and '.join(readers)} to read."
        yield f"send.{topic.name}", {"action": "send", "channel": channel, "summary": summary}


def _records(topic: str) -> Mapping[str, Json]:
    """The messages of a topic; a topic that is missing here has one whose value is described in schemas/records/."""
    special: Mapping[str, Mapping[str, Json]] = {
        "events.raw": {
            "events.raw": {
                "title": "Event, native format",
                "headers": _texts(EVENT_HEADERS),
                "payload": _reference("components", "schemas", "events.raw"),
                "examples": [
                    {
                        "payload": {
                            "type": "user.created",
                            "data": {"id": 42},
                            "tenant": "acme",
                            "ordering_key": "user-42",
                        }
                    }
                ],
            },
            "events.raw.cloudevents": {
                "title": "Event, CloudEvents 1.0, structured",
                "contentType": "application/cloudevents+json",
                "headers": _texts({"content-type": "`application/cloudevents+json`.", **EVENT_HEADERS}),
                "payload": _reference("components", "schemas", "events.raw.cloudevents"),
            },
            "events.raw.cloudevents-binary": {
                "title": "Event, CloudEvents 1.0, binary",
                "description": "The value is the event's data, as JSON.",
                "headers": _cloud_event_headers(),
                "payload": {},
            },
        },
        "events.rejected": {
            "events.rejected": {
                "title": "Rejected record",
                "description": "Key, value and headers of the record, with headers that say why and which.",
                "contentType": "application/octet-stream",
                "headers": _texts(_rejected_headers(), required=_rejected_headers()),
                "payload": {"description": "The original bytes."},
            }
        },
        "events.duplicates": {
            "events.duplicates": {
                "title": "Dropped duplicate",
                "headers": _reference("components", "schemas", "events.duplicates"),
                "payload": {"type": "null", "description": "There is no value."},
            }
        },
        "deliveries.dead": {
            "deliveries.dead": {
                "title": "Dead letter, or parked delivery",
                "headers": _texts(dead_letter_headers(), required=[*delivery_names(), "reason", "last-result"]),
                "payload": {"description": _EVENT_BYTES},
            }
        },
    }
    plain = {topic: {"title": f"Record of {topic}", "payload": _reference("components", "schemas", topic)}}
    return special.get(topic, plain)


def _record_messages() -> Json:
    messages: Json = {}
    for topic in _topics():
        for name, message in _records(topic.name).items():
            key = {"type": "string", "description": topic.key}
            bindings = {"kafka": {"key": key, "bindingVersion": "0.5.0"}}
            messages[name] = {"name": name, "contentType": "application/json", **message, "bindings": bindings}
    return messages


def _texts(meanings: Mapping[str, str], required: Any = ()) -> Json:
    properties = {name: {**_TEXT, "description": meaning} for name, meaning in meanings.items()}
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def _rejected_headers() -> dict[str, str]:
    meanings = {"topic": "The record's topic.", "partition": "Its partition.", "offset": "Its offset."}
    meanings |= sentences(rejected.RejectedNotice) | {"timestamp": "Its timestamp, in milliseconds since the epoch."}
    names = [field.name for field in msgspec.structs.fields(rejected.RejectedNotice)]
    return {f"rejected-{name}": _sentence(meanings[name]) for name in names}


def delivery_names() -> list[str]:
    """The headers that every delivery has."""
    return ["delivery-id", "event-id", "event-type", "tenant", "mode", "created-at"]


def dead_letter_headers() -> dict[str, str]:
    """The headers of deliveries.dead: those of a delivery, and those of its end."""
    fields = sentences(Delivery)
    optional = {name: _sentence(fields.get(each.field, "")) for name, each in delivery._OPTIONAL.items()}
    return optional | _DELIVERY_HEADERS | _DEATH_HEADERS


def _sentence(comment: str) -> str:
    comment = comment.replace("None:", "absent:").replace("absent: not", "absent: it is not")
    return f"{comment[:1].upper()}{comment[1:].rstrip('.')}."


def _cloud_event_headers() -> Json:
    names = [name for name in raw_event._CloudEvent.__struct_fields__ if not name.startswith("data")]
    attributes = {f"ce_{name}": _meaning(name) for name in names}
    headers = {"content-type": "Absent, or JSON.", **attributes, **EVENT_HEADERS}
    return _texts(headers, required=sorted(raw_event._BINARY))


def _meaning(attribute: str) -> str:
    return _MEANINGS.get(attribute) or f"As the header `{attribute}`."


def _cloud_event() -> Json:
    names = raw_event._CloudEvent.__struct_fields__
    properties: Json = {name: {**_TEXT, "description": _meaning(name)} for name in names}
    properties["specversion"]["const"] = "1.0"
    properties["data"] = {"description": _meaning("data")}
    return {"type": "object", "properties": properties, "required": ["specversion", "id", "source", "type"]}


# Schemas


def _schemas() -> Json:
    """The schemas of the topics, with the types that they refer to, and the headers of each profile."""
    topics = {topic.name for topic in _topics()}
    schemas: Json = {f"headers.{name}": _webhook_headers(name) for name in PROFILES}
    schemas["events.raw.cloudevents"] = _draft_07(_cloud_event())
    for file, content in record_schemas.documents().items():
        topic = file.removesuffix(".v1.json")
        if topic not in topics:
            continue
        schema = json.loads(content)
        parts = schema.pop("$defs", {}) | {topic: {key: schema[key] for key in schema if key not in ("$schema", "$id")}}
        for name, part in parts.items():
            if schemas.setdefault(name, _draft_07(part)) != _draft_07(part):
                raise ValueError(f"two types are named {name}")
    return dict(sorted(schemas.items()))


def _draft_07(schema: Any) -> Any:
    """A schema of draft 2020-12 in the dialect of AsyncAPI: tuples, and where definitions are."""
    if isinstance(schema, list):
        return [_draft_07(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    renamed: Json = {}
    for name, part in schema.items():
        if name == "$ref":
            renamed[name] = part.replace("#/$defs/", "#/components/schemas/")
        elif name == "prefixItems":
            renamed["items"] = _draft_07(part)
        elif name == "items" and "prefixItems" in schema:
            renamed["additionalItems"] = _draft_07(part)
        else:
            renamed[name] = _draft_07(part)
    return renamed


def main() -> None:
    """Write the file."""
    ASYNCAPI.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
