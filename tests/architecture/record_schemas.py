"""Generate schemas/records/*.v1.json from the records' types; `python -m tests.architecture.record_schemas` writes."""

from __future__ import annotations

import json
from inspect import cleandoc
from pathlib import Path
from typing import Any, get_args

import msgspec

from app.core import limits
from app.core.model import channels, delivery, endpoint, erasure, event_types, replay, tenant, timestamps
from app.core.records import audit, command, duplicate, notice, raw_event, signal
from app.core.records.attempt import Attempt
from tests.architecture.field_sentences import sentences

FOLDER = Path(__file__).parents[2] / "schemas" / "records"

_KEY_LENGTH = 512
_REGISTERED = (
    endpoint.Endpoint,
    tenant.Tenant,
    tenant.ApiKey,
    event_types.EventType,
    replay.Replay,
    delivery.DeliveryRevision,
    erasure.Erasure,
    erasure.SubjectKeys,
)
_STRUCTS = (
    Attempt,
    audit.AuditEntry,
    notice.Notice,
    signal.HealthSignal,
    *_REGISTERED,
    endpoint.SealedSecret,
    endpoint.Suspension,
    endpoint.OpenCircuit,
    endpoint.Unverified,
    tenant.Brand,
    command.Command,
    command.CommandReply,
    *get_args(command.CommandAction),
)


def documents() -> dict[str, str]:
    """File name → text of the schema."""
    return {
        f"{topic}.v1.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for topic, schema in (
            ("attempts", _struct("attempts", Attempt)),
            ("endpoints.signals", _struct("endpoints.signals", signal.HealthSignal)),
            ("notices", _struct("notices", notice.Notice)),
            ("audit", _struct("audit", audit.AuditEntry)),
            ("registry", _registry()),
            ("registry.commands", _struct("registry.commands", command.Command)),
            ("registry.replies", _struct("registry.replies", command.CommandReply)),
            ("events.raw", _event()),
            ("events.duplicates", _duplicate()),
        )
    }


def _document(topic: str, description: str, rest: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:hookstream:records:{topic}:v1",
        "title": topic,
        "description": description,
        **rest,
    }


def _struct(topic: str, struct: type) -> dict[str, Any]:
    (reference,), components = _components(struct)
    return _document(topic, f"The value of a record of {topic}.", {**reference, "$defs": components})


def _registry() -> dict[str, Any]:
    references, components = _components(*_REGISTERED)
    description = (
        "The value of a record of registry. The key names the entity: `endpoint/<id>`, `tenant/<id>`, `key/<id>`, "
        "`type/<tenant>/<mode>/<name>`, `replay/<id>` or `revision/<delivery id>`. A record without a value removes it."
    )
    return _document("registry", description, {"anyOf": references, "$defs": components})


def _components(*structs: type) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    references, components = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    for component in components.values():
        if "description" in component:
            component["description"] = cleandoc(component["description"])
    for struct in _STRUCTS:
        if struct.__name__ in components:
            for name, sentence in sentences(struct).items():
                components[struct.__name__]["properties"][name]["description"] = sentence
    return list(references), components


def _event() -> dict[str, Any]:
    """The native format; what `decode_event` checks beyond types is added from the same expressions."""
    _, components = msgspec.json.schema_components((raw_event._Native,))
    (event,) = components.values()
    rules: dict[str, dict[str, Any]] = {
        "type": {"pattern": _whole(event_types._TYPE.pattern), "maxLength": event_types.MAX_TYPE_LENGTH},
        "id": {"pattern": _whole(raw_event._NAME.pattern)},
        "tenant": {"pattern": _whole(raw_event._TENANT.pattern)},
        "created_at": {"pattern": _whole(timestamps._TIMESTAMP.pattern)},
        "mode": {"enum": ["live", "test", "", None]},
        "idempotency_key": {"maxLength": _KEY_LENGTH},
        "ordering_key": {"maxLength": _KEY_LENGTH},
        "subject": {"minLength": 1, "maxLength": limits.SUBJECT},
        "deliver_at": {"pattern": _whole(timestamps._TIMESTAMP.pattern)},
        "expires_at": {"pattern": _whole(timestamps._TIMESTAMP.pattern)},
        "channels": {"maxItems": limits.CHANNELS, "items": {"type": "string", "pattern": channels.CHANNEL_PATTERN}},
    }
    wins = "takes precedence."
    meanings = {
        "type": "Dot-joined segments of letters, digits, _ and -.",
        "data": "Any JSON. It is delivered byte for byte where the profile allows.",
        "id": "Sent to receivers in a header. Default: derived from topic, partition and offset.",
        "created_at": "ISO 8601 with date, time and zone. Default: the record's timestamp.",
        "tenant": f"The tenant that the event belongs to. Default: default. The record header `tenant` {wins}",
        "mode": f"Default: live. The record header `mode` {wins}",
        "idempotency_key": "Events with the same key are delivered once within the idempotency window. Default: id. "
        f"The record header `idempotency-key` {wins}",
        "ordering_key": "Events with the same key are numbered and, for ordered endpoints, delivered in sequence. "
        f"The record header `ordering-key` {wins}",
        "channels": "Endpoints with channels receive the event if it carries one of theirs. The record header "
        f"`channels`, comma-separated, {wins}",
        "subject": "The person whom the data is about; what Hookstream writes about them is sealed, see erasures. "
        f"The record header `subject` {wins}",
        "deliver_at": "ISO 8601 with date, time and zone: no attempt before it; at most "
        f"{limits.DELIVER_AHEAD_S / 86_400:g} days after the record's timestamp. The record header `deliver-at` {wins}",
        "expires_at": "ISO 8601 with date, time and zone, after `deliver_at`: no attempt from then on. The record "
        f"header `expires-at` {wins}",
        "metadata": "Free fields of the producer; never sent.",
    }
    for name, meaning in meanings.items():
        event["properties"][name] |= rules.get(name, {}) | {"description": meaning}
    event.pop("title", None)
    description = (
        "The value of a record of events.raw in the native format. CloudEvents 1.0, structured or binary, are "
        "accepted as well."
    )
    return _document("events.raw", description, event)


def _duplicate() -> dict[str, Any]:
    """The headers, as one object of texts."""
    names = {field.name: field.encode_name for field in msgspec.structs.fields(duplicate.DuplicateNotice)}
    descriptions = sentences(duplicate.DuplicateNotice)
    properties: dict[str, dict[str, Any]] = {name: {"type": "string"} for name in names.values()}
    for field, sentence in descriptions.items():
        properties[names[field]]["description"] = sentence
    for name in properties:
        if name.endswith(("-partition", "-offset", "-timestamp")):
            properties[name]["pattern"] = "^-?[0-9]+$"
    properties["mode"]["enum"] = ["live", "test"]
    description = (
        "The headers of a record of events.duplicates as one object of names and UTF-8 texts. The record has no value: "
        "the event's bytes are in events.raw, at the coordinates. The key is the dropped record's."
    )
    rest = {"type": "object", "properties": properties, "required": list(properties)}
    return _document("events.duplicates", description, rest)


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
