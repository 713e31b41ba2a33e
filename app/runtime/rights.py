"""The rights on Kafka that each role needs, derived from the declarations of roles and topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from app.core.inputs.catalog import Inputs
from app.core.rights import KafkaRight
from app.core.topics.declarations import Topics
from app.runtime.roles import ROLES

Resource = Literal["topic", "group", "transactional_id", "cluster"]
#: as Kafka names them in `kafka-acls.sh --operation`
Operation = Literal["Read", "Write", "Describe", "DescribeConfigs", "Create", "AlterConfigs", "IdempotentWrite"]

#: `read_by` and `written_by` of topics/*.yaml name the command line so
COMMAND_LINE = "cli"
#: `read_by` of a topic that every process reads
EVERY_ROLE = "every role"
CLUSTER = "kafka-cluster"
#: the name of a topic that stands for all of them
EVERY_TOPIC = "*"


class Right(Struct, frozen=True, order=True):
    """Permission for operations on one resource, or on all whose names begin with `name`."""

    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    pattern: Literal["literal", "prefixed"] = "literal"


class RoleRights(Struct, frozen=True, kw_only=True):
    """The operations of one role, or of the command line, on Kafka; names are physical."""

    #: the consumer group that it joins
    group: str | None
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    #: topics of which it only reads the settings, the partitions and the ends
    describes: tuple[str, ...]
    #: groups whose committed offsets it reads
    describes_groups: tuple[str, ...]
    #: groups whose offsets it resets
    resets_groups: tuple[str, ...] = ()
    #: prefixes of further groups, without members, whose offsets it commits
    commits_group_prefixes: tuple[str, ...] = ()
    transactional_id: str | None
    #: topics of inputs that it reads, which are no topics of Hookstream's own
    reads_inputs: tuple[str, ...] = ()
    #: prefixes of further ones, whose names patterns match; an empty one covers every topic
    reads_input_prefixes: tuple[str, ...] = ()
    #: whether it creates topics and changes their settings
    manages_topics: bool

    def rights(self) -> list[Right]:
        """The rights, sorted."""
        return sorted([*self._topic_rights(), *self._other_rights()])

    def single_rights(self) -> frozenset[KafkaRight]:
        """The rights on single resources, one for each operation."""
        return frozenset(
            KafkaRight(resource=right.resource.replace("_", "-"), name=right.name, operation=operation)
            for right in self.rights()
            if right.pattern == "literal" and right.name != EVERY_TOPIC
            for operation in right.operations
        )

    def _topic_rights(self) -> Iterable[Right]:
        managed: tuple[Operation, ...] = ("Create", "AlterConfigs") if self.manages_topics else ()
        for name in {*self.reads, *self.writes, *self.describes}:
            reading: tuple[Operation, ...] = ("Read",) if name in self.reads else ()
            writing: tuple[Operation, ...] = ("Write",) if name in self.writes else ()
            yield Right("topic", name, (*reading, *writing, "Describe", "DescribeConfigs", *managed))
        for name in self.reads_inputs:
            yield Right("topic", name, ("Read", "Describe"))
        for prefix in self.reads_input_prefixes:
            yield Right("topic", prefix or EVERY_TOPIC, ("Read", "Describe"), "prefixed" if prefix else "literal")

    def _other_rights(self) -> Iterable[Right]:
        if self.group is not None:
            yield Right("group", self.group, ("Read", "Describe"))
        for name in self.resets_groups:
            yield Right("group", name, ("Read", "Describe"))
        for prefix in self.commits_group_prefixes:
            yield Right("group", prefix, ("Read", "Describe"), "prefixed")
        for name in self.describes_groups:
            if name not in (self.group, *self.resets_groups):
                yield Right("group", name, ("Describe",))
        if self.transactional_id is not None:
            yield Right("transactional_id", self.transactional_id, ("Write", "Describe"))
        if self.manages_topics:
            yield Right("cluster", CLUSTER, ("Describe",))
        if not self.writes:  # each process opens an idempotent producer; a right to write a topic allows it
            yield Right("cluster", CLUSTER, ("IdempotentWrite",))


def rights_of(topics: Topics, prefix: str, inputs: Inputs | None = None) -> dict[str, RoleRights]:
    """Role → its rights, in the order of `ROLES`; `COMMAND_LINE` is the last one. `prefix` is that of all names."""
    return {
        name: RoleRights(
            group=_group(prefix, name) if spec.reads or spec.elects or spec.reads_inputs else None,
            reads=_names(topics, name, "read_by") + tuple(topics.name(each) for each in spec.elects),
            writes=_names(topics, name, "written_by"),
            describes=tuple(topics.all_names()),
            describes_groups=tuple(_group(prefix, each) for each in spec.inspects),
            commits_group_prefixes=tuple(_group(prefix, each) for each in spec.commits),
            transactional_id=_group(prefix, name) if spec.transactional else None,
            reads_inputs=inputs.topics() if inputs is not None and spec.reads_inputs else (),
            reads_input_prefixes=inputs.prefixes() if inputs is not None and spec.reads_inputs else (),
            manages_topics=False,
        )
        for name, spec in ROLES.items()
    } | {COMMAND_LINE: _command_line(topics, prefix, inputs)}


def common_rights(needed: Mapping[str, frozenset[KafkaRight]]) -> frozenset[KafkaRight]:
    """The essential rights that every role needs, for what all processes do. `needed`: role → its rights."""
    shared = frozenset.intersection(*(needed[role] for role in ROLES))
    return frozenset(right for right in shared if right.essential)


def _command_line(topics: Topics, prefix: str, inputs: Inputs | None) -> RoleRights:
    return RoleRights(
        group=None,
        reads=_names(topics, COMMAND_LINE, "read_by"),
        writes=_names(topics, COMMAND_LINE, "written_by"),
        describes=tuple(topics.all_names()),
        describes_groups=tuple(
            _group(prefix, name) for name, spec in ROLES.items() if spec.reads or spec.elects or spec.reads_inputs
        ),
        resets_groups=tuple(_group(prefix, name) for name, spec in ROLES.items() if spec.resettable),
        transactional_id=None,
        reads_inputs=inputs.topics() if inputs is not None else (),
        reads_input_prefixes=inputs.prefixes() if inputs is not None else (),
        manages_topics=True,
    )


def _group(prefix: str, role: str) -> str:
    return f"{prefix}hookstream.{role}"


def _names(topics: Topics, role: str, side: Literal["read_by", "written_by"]) -> tuple[str, ...]:
    return tuple(
        spec.name
        for spec in topics.specs
        if role in getattr(spec, side) or (side == "read_by" and EVERY_ROLE in spec.read_by)
    )
