"""The presets of inputs. What a declaration sets itself takes precedence."""

from __future__ import annotations

import msgspec

from app.core.inputs.declaration import InputDeclaration, Preset, SkipCondition, Source

#: the outbox event router of Debezium: the payload is the value, the event's id a header, the aggregate's id the key
_OUTBOX = InputDeclaration(
    name="debezium-outbox",
    type=(Source(header="type"), Source(header="eventType"), Source(topic=r"(?:.*\.)?([^.]+)")),
    id=Source(header="id"),
    ordering_key=Source(key=True),
    data=Source(path="$", parse=True),
    optional=("ordering_key",),
    tombstones="skip",
    connect_envelope=True,
)
_VERBS = {"c": "created", "u": "updated", "d": "deleted"}
#: change events of Debezium's connectors: creates, updates and deletes of rows; snapshots are left out
_CDC = InputDeclaration(
    name="debezium-cdc",
    type=Source(join=(Source(path="$.source.table"), Source(path="$.op", map=_VERBS))),
    ordering_key=Source(join=(Source(path="$.source.table"), Source(key=True)), separator=":"),
    time=(Source(path="$.source.ts_ms", unit="ms"), Source(path="$.ts_ms", unit="ms")),
    data=Source(object={"before": Source(path="$.before"), "after": Source(path="$.after")}),
    optional=("ordering_key", "time"),
    tombstones="skip",
    skip=(SkipCondition(source=Source(path="$.op"), values=("r", "t", "m")),),
    connect_envelope=True,
)
#: CloudEvents in the Kafka protocol binding, binary and structured: passed on as they are
_CLOUDEVENTS = InputDeclaration(name="cloudevents")
PRESETS: dict[Preset, InputDeclaration] = {
    "debezium-outbox": _OUTBOX,
    "debezium-cdc": _CDC,
    "cloudevents": _CLOUDEVENTS,
}


def with_preset(declared: InputDeclaration) -> InputDeclaration:
    """The declaration, completed by its preset. A field that it sets itself is no longer optional by the preset."""
    if declared.preset is None:
        return declared
    preset = PRESETS[declared.preset]
    own = {
        name: getattr(declared, name)
        for name in InputDeclaration.__struct_fields__
        if getattr(declared, name) is not None and name not in ("topics", "pattern")
    }
    optional = declared.optional
    if optional is None:
        optional = tuple(name for name in preset.optional or () if name not in own)
    own |= {"topics": declared.topics, "pattern": declared.pattern, "optional": optional}
    return msgspec.structs.replace(preset, **own)
