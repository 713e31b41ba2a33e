"""Topics as the files in `topics/` declare them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from app.core.errors import ConfigError
from app.core.topics.names import RUNGS, TopicName

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: bytes at most that headers and framing add to an event
_HEADROOM = 65_536
_SMALLEST_BATCH_LIMIT = 1_048_588
#: bytes by which a record may grow from topic to topic, through headers with times, reasons and errors
GROWTH = 16_384


class TopicDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of one file of topics/*.yaml."""

    name: str
    key: str
    value: str
    written_by: tuple[str, ...]
    read_by: tuple[str, ...]
    #: `events` or `deliveries`: the installation's count, equal for all topics of the family; or a fixed number
    partitions: Literal["events", "deliveries"] | Annotated[int, msgspec.Meta(ge=1)]
    config: dict[str, str | int | float]
    #: the reason for its retention
    why: str
    #: one topic for each rung, named `<name>.<rung>`
    rungs: tuple[str, ...] = ()


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A topic of this installation, as declared."""

    logical: str
    name: str
    partitions: int
    replication: int
    config: dict[str, str]
    #: topics of the same family have equal partition counts; empty: the count is fixed
    family: str = ""
    #: roles, and others, that write and read it
    written_by: tuple[str, ...] = ()
    read_by: tuple[str, ...] = ()


class Topics:
    """All topics of an installation."""

    def __init__(self, specs: Iterable[TopicSpec]) -> None:
        self.specs = tuple(sorted(specs, key=lambda spec: spec.logical))
        self._names = {spec.logical: spec.name for spec in self.specs}

    def name(self, logical: str) -> str:
        """The physical name of a logical topic."""
        return self._names[logical]

    @property
    def max_record_bytes(self) -> int:
        """Bytes of a delivery's record at most: a larger one would not fit into the topics that follow.

        Records of producers that compress may be larger uncompressed.
        """
        return self.limit(TopicName.DELIVERIES) - GROWTH

    def logical(self, name: str) -> str | None:
        """The logical name of a physical topic; None for any other topic."""
        return next((spec.logical for spec in self.specs if spec.name == name), None)

    def limit(self, logical: str) -> int:
        """The declared `max.message.bytes` of a topic, or Kafka's default."""
        limits = (spec.config.get("max.message.bytes") for spec in self.specs if spec.logical == logical)
        return int(next(limits, None) or _SMALLEST_BATCH_LIMIT)

    def all_names(self) -> list[str]:
        """All physical names."""
        return [spec.name for spec in self.specs]


def load(
    documents: Mapping[str, object], *, prefix: str, partitions: int, replication_factor: int, max_event_bytes: int
) -> Topics:
    """The topics of `documents` (file name → parsed YAML). Raises `ConfigError` with all problems of the files."""
    problems: list[str] = []
    specs: list[TopicSpec] = []
    for file, document in documents.items():
        try:
            declared = msgspec.convert(document, TopicDeclaration)
        except msgspec.ValidationError as error:
            problems.append(f"{file}: {error}")
            continue
        count = declared.partitions if isinstance(declared.partitions, int) else partitions
        for logical in [f"{declared.name}.{rung}" for rung in declared.rungs] or [declared.name]:
            if not _NAME.fullmatch(prefix + logical):
                problems.append(f"{file}: {prefix + logical!r} is not a topic name")
            specs.append(
                TopicSpec(
                    logical=logical,
                    name=prefix + logical,
                    partitions=count,
                    replication=replication_factor,
                    config=_config(declared.config, replication_factor, max_event_bytes),
                    family=declared.partitions if isinstance(declared.partitions, str) else "",
                    written_by=declared.written_by,
                    read_by=declared.read_by,
                )
            )
    wanted = {name for key, name in vars(TopicName).items() if key.isupper() and name != TopicName.DELIVERIES_DELAY}
    wanted |= {f"{TopicName.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS}
    problems += [f"no file declares the topic {name}" for name in sorted(wanted - {spec.logical for spec in specs})]
    if problems:
        raise ConfigError(problems)
    return Topics(specs)


def max_message_bytes(max_event_bytes: int) -> int:
    """The `max.message.bytes` of topics with events.

    Kafka compares it with whole batches, so it must not be below the default batch size of producers.
    """
    return max(_SMALLEST_BATCH_LIMIT, max_event_bytes + _HEADROOM)


def _config(declared: Mapping[str, str | int | float], replication: int, max_event_bytes: int) -> dict[str, str]:
    config = {name: str(value) for name, value in declared.items()}
    if config.get("max.message.bytes") == "event":
        config["max.message.bytes"] = str(max_message_bytes(max_event_bytes))
    config["min.insync.replicas"] = str(max(1, replication - 1))
    return config
