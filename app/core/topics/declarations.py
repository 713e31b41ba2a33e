"""Topics as the files in `topics/` declare them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec

from app.core.errors import ConfigError
from app.core.topics.names import RUNGS, TopicName

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: bytes that headers and framing add to an event at most
_HEADROOM = 65_536
_SMALLEST_BATCH_LIMIT = 1_048_588
#: bytes by which a record may grow on its way: headers that say when, why and what
GROWTH = 16_384


class TopicDeclaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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
        return self.limit(TopicName.DELIVERIES) - GROWTH

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
            said = msgspec.convert(document, TopicDeclaration)
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
    wanted = {name for key, name in vars(TopicName).items() if key.isupper() and name != TopicName.DELIVERIES_DELAY}
    wanted |= {f"{TopicName.DELIVERIES_DELAY}.{name}" for name, _ in RUNGS}
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
