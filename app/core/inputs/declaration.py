"""`inputs.yaml`: the inputs as they are declared, and their checks. All problems are named at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from app.core.errors import ConfigError
from app.core.inputs.json_paths import parse_path
from app.core.model.shape_problems import shape_problems

Preset = Literal["debezium-outbox", "debezium-cdc", "cloudevents"]
TimeUnit = Literal["iso", "s", "ms", "us", "ns"]

#: inputs of one file, topics of an input, candidates of a field, entries of `map`, `join`, `object` and `metadata`
MAX_INPUTS = 100
MAX_ENTRIES = 100
#: characters of a pattern
_MAX_PATTERN = 512
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_LITERAL_PREFIX = re.compile(r"(?:[A-Za-z0-9_-]|\\\.)*")


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a value comes from: exactly one of the first seven."""

    #: name of a header
    header: str | None = None
    #: true: the key; or a path into a key that is JSON
    key: bool | str | None = None
    #: a path into the value
    path: str | None = None
    #: true: the topic's name; or a regular expression that matches all of it: its first group, or all of it
    topic: bool | str | None = None
    constant: str | None = None
    #: values that are joined by `separator`; absent if one of them is
    join: tuple[Source, ...] | None = None
    #: of `data` alone: an object with these members
    object: dict[str, Source] | None = None
    separator: str = "."
    #: value → what takes its place; other values count as absent
    map: dict[str, str] | None = None
    #: of `time` alone: what a number counts
    unit: TimeUnit = "iso"
    #: of `data` alone: a string that holds a JSON object or array as text becomes that object or array
    parse: bool = False

    def kinds(self) -> list[str]:
        """The names of the kinds that are set."""
        return [name for name in _KINDS if getattr(self, name) is not None]


_KINDS = ("header", "key", "path", "topic", "constant", "join", "object")
#: a constant, a source, or several candidates: the first that a record has
Field = str | Source | tuple[Source | str, ...]


class SkipCondition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Records that are left out: those whose value from a source is one of a list."""

    source: Source
    values: tuple[str, ...]


class InputDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of the list `inputs`."""

    name: str
    topics: tuple[str, ...] = ()
    #: a regular expression that matches the whole name of a topic
    pattern: str | None = None
    preset: Preset | None = None
    #: confluent: the value is encoded with a schema of the schema registry
    format: Literal["json", "confluent"] | None = None
    #: the same for the key; by default it is text, or JSON
    key_format: Literal["text", "confluent"] | None = None
    type: Field | None = None
    tenant: Field | None = None
    mode: Field | None = None
    id: Field | None = None
    idempotency_key: Field | None = None
    ordering_key: Field | None = None
    time: Field | None = None
    deliver_at: Field | None = None
    expires_at: Field | None = None
    data: Field | None = None
    metadata: dict[str, Field] | None = None
    #: fields that a record may lack although they are declared
    optional: tuple[str, ...] | None = None
    #: records without a value: leave them out, or reject them
    tombstones: Literal["skip", "reject"] | None = None
    skip: tuple[SkipCondition, ...] | None = None
    #: take `payload` out of the envelope of Kafka Connect's JsonConverter
    connect_envelope: bool | None = None

    def literal_prefix(self) -> str:
        """The characters with which every name that matches the pattern begins; empty without a pattern."""
        if self.pattern is None or _has_alternatives(self.pattern):
            return ""
        match = _LITERAL_PREFIX.match(self.pattern)
        assert match is not None
        prefix = match[0]
        if self.pattern[match.end() : match.end() + 1] in ("*", "+", "?", "{"):
            prefix = prefix[: -2 if prefix.endswith("\\.") else -1]
        return prefix.replace("\\.", ".")


def _has_alternatives(pattern: str) -> bool:
    """Whether a pattern has a `|` outside of groups. One in a set of characters counts, too."""
    depth = 0
    escaped = False
    for character in pattern:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == "|" and depth == 0:
            return True
    return False


#: fields whose value is text
TEXT_FIELDS = ("type", "tenant", "mode", "id", "idempotency_key", "ordering_key", "time", "deliver_at", "expires_at")
FIELDS = (*TEXT_FIELDS, "data")
#: what a preset that passes CloudEvents on lets the event itself say
_OF_CLOUDEVENTS = ("type", "id", "time", "data", "metadata")


def read_declarations(document: object) -> tuple[InputDeclaration, ...]:
    """The inputs of a parsed file. Raises `ConfigError` with all problems."""
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise ConfigError(["the file has no list `inputs`"])
    problems = [f"{name!r} is unknown: the file has only `inputs`" for name in document if name != "inputs"]
    entries = document["inputs"]
    if len(entries) > MAX_INPUTS:
        raise ConfigError([f"{len(entries)} inputs: a file has at most {MAX_INPUTS}"])
    declared: list[InputDeclaration] = []
    for number, entry in enumerate(entries):
        label = str(entry["name"])[:80] if isinstance(entry, dict) and "name" in entry else str(number)
        try:
            each = msgspec.convert(entry, InputDeclaration)
        except (msgspec.ValidationError, RecursionError) as error:
            problems += [f"input {label}: {problem}" for problem in _misfits(entry, error)]
            continue
        declared.append(each)
        problems += [f"input {label}: {problem}" for problem in _problems(each)]
    problems += _common_problems(declared)
    if problems:
        raise ConfigError(problems)
    return tuple(declared)


def _misfits(entry: Any, error: Exception) -> list[str]:
    """Why an entry is no declaration: each field that does not fit, else the error."""
    if (
        isinstance(error, RecursionError)
        or not isinstance(entry, dict)
        or not all(isinstance(each, str) for each in entry)
    ):
        return [str(error)]
    fields = ", ".join(field.name for field in msgspec.structs.fields(InputDeclaration))
    more = {"is not a field": f", one of {fields}"}
    problems = list(shape_problems(entry, InputDeclaration))
    return [f"{place.strip('/').replace('/', '.')}: {why}{more.get(why, '')}" for place, why in problems] or [
        str(error)
    ]


def _common_problems(declared: list[InputDeclaration]) -> Iterator[str]:
    names = [each.name for each in declared]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"input {name}: the name is used twice"
    topics = [(topic, each.name) for each in declared for topic in each.topics]
    for topic in sorted({topic for topic, _ in topics}):
        readers = [name for other, name in topics if other == topic]
        if len(readers) > 1:
            yield f"topic {topic} belongs to the inputs {', '.join(readers)}: a record becomes one event"


def _problems(each: InputDeclaration) -> Iterator[str]:
    if not _NAME.fullmatch(each.name):
        yield "name: 1 to 63 lower-case letters, digits and -"
    if bool(each.topics) == (each.pattern is not None):
        yield "either `topics` or `pattern` says what it reads"
    if len(each.topics) > MAX_ENTRIES:
        yield f"topics: at most {MAX_ENTRIES}"
    yield from (f"topics: {topic!r} is not a topic name" for topic in each.topics if not _TOPIC.fullmatch(topic))
    if each.pattern is not None:
        yield from _pattern_problems("pattern", each.pattern)
    if each.preset is None and each.type is None:
        yield "type: say where it comes from, or name a preset"
    if each.preset == "cloudevents":
        yield from (f"{name}: a CloudEvent has its own" for name in _OF_CLOUDEVENTS if getattr(each, name) is not None)
        if each.connect_envelope:
            yield "connect_envelope: CloudEvents are passed on as they are"
    yield from (f"optional: {name!r} is not a field" for name in each.optional or () if name not in FIELDS)
    if len(each.metadata or ()) > MAX_ENTRIES or len(each.skip or ()) > MAX_ENTRIES:
        yield f"metadata, skip: at most {MAX_ENTRIES} entries"
    for name in FIELDS:
        yield from _field_problems(name, getattr(each, name))
    for name, value in (each.metadata or {}).items():
        yield from _field_problems(f"metadata.{name[:64]}", value)
    for condition in each.skip or ():
        yield from _source_problems("skip", condition.source)


def _field_problems(name: str, value: Field | None) -> Iterator[str]:
    if value is None or isinstance(value, str):
        return
    candidates = value if isinstance(value, tuple) else (value,)
    if not 1 <= len(candidates) <= MAX_ENTRIES:
        yield f"{name}: 1 to {MAX_ENTRIES} candidates"
    for candidate in candidates:
        if isinstance(candidate, Source):
            yield from _source_problems(name, candidate)


def _source_problems(name: str, source: Source, depth: int = 0) -> Iterator[str]:
    kinds = source.kinds()
    if len(kinds) != 1:
        yield f"{name}: a source has exactly one of {', '.join(_KINDS)}; this one has {', '.join(kinds) or 'none'}"
    for kind in ("key", "topic"):
        if getattr(source, kind) is False:
            yield f"{name}.{kind}: true, or a text"
    for kind in ("path", "key"):
        path = getattr(source, kind)
        if isinstance(path, str):
            try:
                parse_path(path)
            except ValueError as error:
                yield f"{name}.{kind}: {error}"
    if isinstance(source.topic, str):
        yield from _pattern_problems(f"{name}.topic", source.topic)
    if name != "data" and (source.object is not None or source.parse):
        yield f"{name}: only `data` has `object` and `parse`"
    if name != "time" and source.unit != "iso":
        yield f"{name}: only `time` has `unit`"
    inner = [*(source.join or ()), *(source.object or {}).values()]
    if depth and inner:
        yield f"{name}: `join` and `object` are not nested"
    elif len(inner) > MAX_ENTRIES or len(source.map or ()) > MAX_ENTRIES:
        yield f"{name}: at most {MAX_ENTRIES} entries"
    else:
        for each in inner:
            yield from _source_problems(name, each, depth + 1)


def _pattern_problems(name: str, pattern: str) -> Iterator[str]:
    if not 1 <= len(pattern) <= _MAX_PATTERN:
        yield f"{name}: 1 to {_MAX_PATTERN} characters"
        return
    try:
        re.compile(f"(?:x|{pattern})")  # no flag may hold for what stands beside it
    except (re.error, RecursionError, OverflowError) as error:
        yield f"{name}: {pattern!r} is not a regular expression ({error})"
