"""The topics: logical names, rungs, what a declaration means here, and what has to be done to the cluster.

Declarations are topics/*.yaml (DESIGN section 3). `plan` compares them with what is there; nothing is ever deleted and
no partition count lowered. Counts of keyed topics and of topics with tables are frozen once they exist: a key would
move to another partition, away from its table, its order and its waiting retries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from app.core.errors import ConfigError

#: the delay ladder: name and seconds, ascending
RUNGS: tuple[tuple[str, float], ...] = (
    ("1s", 1.0), ("5s", 5.0), ("30s", 30.0), ("1m", 60.0),
    ("5m", 300.0), ("30m", 1800.0), ("2h", 7200.0), ("8h", 28800.0),
)  # fmt: skip

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: bytes that headers and framing add to an event at most
_HEADROOM = 65_536
_SMALLEST_BATCH_LIMIT = 1_048_588
#: bytes by which a record may grow on its way: headers that say when, why and what
GROWTH = 16_384


class Names:
    """Logical topic names that roles use."""

    EVENTS_RAW = "events.raw"
    EVENTS_REJECTED = "events.rejected"
    EVENTS_DUPLICATES = "events.duplicates"
    REGISTRY_COMMANDS = "registry.commands"
    REGISTRY = "registry"
    REGISTRY_REPLIES = "registry.replies"
    DELIVERIES = "deliveries"
    DELIVERIES_ORDERED = "deliveries.ordered"
    SEQUENCER_LINES = "hookstream.sequencer-line-changelog"
    SEQUENCER_HELD = "hookstream.sequencer-held-changelog"
    #: followed by `.<rung>`
    DELIVERIES_DELAY = "deliveries.delay"
    DELIVERIES_DEAD = "deliveries.dead"
    ATTEMPTS = "attempts"
    ENDPOINTS_SIGNALS = "endpoints.signals"
    NOTICES = "notices"
    AUDIT = "audit"


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of topics/*.yaml."""

    name: str
    key: str
    value: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    #: events | deliveries: the installation's count, frozen together; or a fixed number
    partitions: Literal["events", "deliveries"] | Annotated[int, msgspec.Meta(ge=1)]
    config: dict[str, str | int | float]
    #: why it is kept for that long
    why: str
    #: one topic for each rung, named `<name>.<rung>`
    rungs: tuple[str, ...] = ()


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as this installation wants it."""

    logical: str
    name: str
    partitions: int
    replication: int
    config: dict[str, str]
    #: topics with the same one have equal partition counts; empty: the count is fixed
    family: str = ""


class Topics:
    """All topics of an installation."""

    def __init__(self, specs: Iterable[TopicSpec]) -> None:
        self.specs = tuple(sorted(specs, key=lambda spec: spec.logical))
        self._names = {spec.logical: spec.name for spec in self.specs}

    def name(self, logical: str) -> str:
        """The physical name."""
        return self._names[logical]

    @property
    def max_record_bytes(self) -> int:
        """A larger delivery is none of ours: it would not fit into the topics that it may have to go on to.

        What a producer compresses may be of any size here.
        """
        return self.limit(Names.DELIVERIES) - GROWTH

    def logical(self, name: str) -> str | None:
        """The reverse of `name`; None: it is none of these."""
        return next((spec.logical for spec in self.specs if spec.name == name), None)

    def limit(self, logical: str) -> int:
        """The `max.message.bytes` of a topic as it is declared, else Kafka's default."""
        limits = (spec.config.get("max.message.bytes") for spec in self.specs if spec.logical == logical)
        return int(next(limits, None) or _SMALLEST_BATCH_LIMIT)

    def all_names(self) -> list[str]:
        """All physical names."""
        return [spec.name for spec in self.specs]


def load(
    documents: Mapping[str, object], *, prefix: str, partitions: int, replication_factor: int, max_event_bytes: int
) -> Topics:
    """The topics of `documents` (file name → parsed YAML); `ConfigError` has all that is wrong with them."""
    problems: list[str] = []
    specs: list[TopicSpec] = []
    for file, document in documents.items():
        try:
            said = msgspec.convert(document, Declaration)
        except msgspec.ValidationError as error:
            problems.append(f"{file}: {error}")
            continue
        count = said.partitions if isinstance(said.partitions, int) else partitions
        for logical in [f"{said.name}.{rung}" for rung in said.rungs] or [said.name]:
            if not _NAME.fullmatch(prefix + logical):
                problems.append(f"{file}: {prefix + logical!r} is no topic name")
            specs.append(
                TopicSpec(
                    logical=logical,
                    name=prefix + logical,
                    partitions=count,
                    replication=replication_factor,
                    config=_config(said.config, replication_factor, max_event_bytes),
                    family=said.partitions if isinstance(said.partitions, str) else "",
                )
            )
    wanted = {name for key, name in vars(Names).items() if key.isupper() and name != Names.DELIVERIES_DELAY}
    wanted |= {f"{Names.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS}
    problems += [f"no file declares the topic {name}" for name in sorted(wanted - {spec.logical for spec in specs})]
    if problems:
        raise ConfigError(problems)
    return Topics(specs)


def max_message_bytes(max_event_bytes: int) -> int:
    """The `max.message.bytes` of topics that carry events.

    Kafka judges a whole batch by it, so it must not be below what producers batch by default.
    """
    return max(_SMALLEST_BATCH_LIMIT, max_event_bytes + _HEADROOM)


def _config(said: Mapping[str, str | int | float], replication: int, max_event_bytes: int) -> dict[str, str]:
    config = {name: str(value) for name, value in said.items()}
    if config.get("max.message.bytes") == "event":
        config["max.message.bytes"] = str(max_message_bytes(max_event_bytes))
    config["min.insync.replicas"] = str(max(1, replication - 1))
    return config


class Actual(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as the cluster has it."""

    partitions: int
    replication: int
    config: dict[str, str]


class Create(msgspec.Struct, frozen=True, tag="create"):
    """The topic is not there."""

    spec: TopicSpec

    def sentence(self) -> str:
        """For people."""
        return f"create {self.spec.name}: {self.spec.partitions} partitions, {self.spec.replication} replicas"


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """Settings of the topic differ; `changes` maps each to (is, wanted)."""

    spec: TopicSpec
    changes: dict[str, tuple[str, str]]

    def sentence(self) -> str:
        """For people."""
        listed = ", ".join(f"{name} {was or 'unset'} → {to}" for name, (was, to) in sorted(self.changes.items()))
        return f"configure {self.spec.name}: {listed}"


class Drift(msgspec.Struct, frozen=True, tag="drift"):
    """A difference that `apply` does not touch."""

    spec: TopicSpec
    problem: str

    def sentence(self) -> str:
        """For people."""
        return f"drift of {self.spec.name}: {self.problem}"


Step = Create | Configure | Drift


def plan(topics: Topics, actual: Mapping[str, Actual]) -> list[Step]:
    """What separates the cluster from the declarations, in the order in which it would be done."""
    steps: list[Step] = []
    for spec in topics.specs:
        there = actual.get(spec.name)
        if there is None:
            steps.append(Create(spec))
            continue
        if there.partitions != spec.partitions:
            steps.append(Drift(spec, _count_problem(spec, there)))
        if there.replication < spec.replication:
            steps.append(
                Drift(
                    spec,
                    f"{there.replication} replicas instead of {spec.replication}: raise them with "
                    "kafka-reassign-partitions.sh, or set HOOKSTREAM_REPLICATION_FACTOR",
                )
            )
        changes = {
            name: (there.config.get(name, ""), wanted)
            for name, wanted in spec.config.items()
            if not _same(there.config.get(name, ""), wanted)
        }
        if changes:
            steps.append(Configure(spec, changes))
    return steps


def _same(there: str, wanted: str) -> bool:
    if there == wanted or sorted(there.split(",")) == sorted(wanted.split(",")):
        return True
    try:
        return float(there) == float(wanted)
    except ValueError:
        return False


def _count_problem(spec: TopicSpec, there: Actual) -> str:
    return (
        f"{there.partitions} partitions instead of {spec.partitions}: counts are frozen, because keys would move away "
        f"from their tables and waiting retries; set HOOKSTREAM_PARTITIONS={there.partitions}, or use another "
        "HOOKSTREAM_TOPIC_PREFIX for a new installation"
    )
