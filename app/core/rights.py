"""Rights on Kafka that a client lacks: what they are, who needs them, and the commands that grant them."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

#: options of Kafka's tools in a shell: $ADMIN is a file with client properties, and is needed where Kafka is secured
CONNECTION = '--bootstrap-server "$KAFKA" ${ADMIN:+--command-config "$ADMIN"}'
#: rights that one sentence names
_SHOWN = 5
#: operations on topics → the numbers of their bits in Kafka's answers
_BITS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
_OPTIONS = {"topic": "--topic", "group": "--group", "transactional-id": "--transactional-id"}
#: lists everything that a role needs
_ALL = "`hookstream topics export --format acls`"


class KafkaRight(Struct, frozen=True, kw_only=True, order=True):
    """Permission for one operation on one resource."""

    #: topic, group, transactional-id or cluster
    resource: str
    name: str
    operation: str

    @property
    def essential(self) -> bool:
        """Whether a role cannot work without it: it starts without seeing the settings of topics."""
        return self.operation != "DescribeConfigs"


def grant_command(
    user: str, resource: str, operations: Sequence[str], names: Sequence[str], *, prefixed: bool = False
) -> str:
    """A command of kafka-acls.sh that grants operations on resources of one kind; `prefixed`: on all whose names begin
    so.
    """
    option = _OPTIONS.get(resource)
    where = " ".join(f"{option} {shlex.quote(name)}" for name in names) if option else "--cluster"
    where += " --resource-pattern-type prefixed" if prefixed else ""
    what = " ".join(f"--operation {operation}" for operation in operations)
    return f"kafka-acls.sh {CONNECTION} --add --allow-principal {shlex.quote(f'User:{user}')} {what} {where}"


def grant_commands(user: str, rights: Iterable[KafkaRight]) -> list[str]:
    """Commands that grant the rights."""
    return commands_for(user, ((*resource, operations) for resource, operations in _by_resource(rights).items()))


def commands_for(user: str, needed: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[str]:
    """Commands that grant operations; resources with equal ones share one. `needed`: resource, name, operations."""
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for resource, name, operations in needed:
        alike[resource, operations].append(name)
    return [grant_command(user, *kind, names) for kind, names in alike.items()]


def named(rights: Iterable[KafkaRight]) -> str:
    """Each resource with the operations on it."""
    return ", ".join(
        f"{' and '.join(operations)} on {resource} {name}"
        for (resource, name), operations in _by_resource(rights).items()
    )


def refusal(user: str, role: str, missing: Collection[KafkaRight]) -> str:
    """A sentence for rights that a user of a role lacks, with the command that grants them; the first of many."""
    return _refusal(user, sorted(missing), f", which the role {role} needs")


def command_refusal(user: str, missing: Collection[KafkaRight]) -> str:
    """As `refusal`, for rights that a command needs."""
    return _refusal(user, sorted(missing), "")


def hidden_topics(user: str, topics: Iterable[str]) -> str:
    """A sentence for topics that Kafka does not show to a user."""
    rights = sorted(KafkaRight(resource="topic", name=name, operation="Describe") for name in topics)
    return _refusal(user, rights, "")


def missing_by_role(
    needed: Mapping[str, Collection[KafkaRight]], refused: Collection[KafkaRight]
) -> dict[str, frozenset[KafkaRight]]:
    """Role → those of its rights that Kafka refuses; roles that lack none are left out."""
    lacks = {role: frozenset(its) & frozenset(refused) for role, its in needed.items()}
    return {role: rights for role, rights in lacks.items() if rights}


def operations_in(bits: int) -> frozenset[str] | None:
    """The operations on a topic that Kafka allows; None if the broker does not say.

    Who sees a topic may at least describe it, so an answer without that says nothing.
    """
    operations = frozenset(name for name, number in _BITS.items() if bits & 1 << number)
    return operations if bits >= 0 and "Describe" in operations else None


def doubtful(
    needed: Iterable[KafkaRight], allowed: Mapping[str, frozenset[str] | None], hidden: Collection[str]
) -> set[KafkaRight]:
    """Those of `needed` that Kafka may refuse, according to what it says about topics.

    `allowed`: topic → the operations that Kafka allows; None: it does not say. `hidden`: topics that it does not show.
    It says nothing about other resources.
    """
    return {
        right
        for right in needed
        if right.resource != "topic"
        or right.name in hidden
        or ((operations := allowed.get(right.name)) is not None and right.operation not in operations)
    }


def _by_resource(rights: Iterable[KafkaRight]) -> dict[tuple[str, str], tuple[str, ...]]:
    operations: dict[tuple[str, str], list[str]] = defaultdict(list)
    for right in sorted(rights):
        operations[right.resource, right.name].append(right.operation)
    return {resource: tuple(each) for resource, each in operations.items()}


def _refusal(user: str, missing: Sequence[KafkaRight], needs: str) -> str:
    first = missing[:_SHOWN]
    rest = len(missing) - len(first)
    more = f" and {rest} more rights" if rest else ""
    hidden = any((each.resource, each.operation) == ("topic", "Describe") for each in missing)
    unseen = " (a topic without Describe cannot be seen, whether it exists or not)" if hidden else ""
    grant = " && ".join(grant_commands(user, first)) + (f"; {_ALL} prints the others" if rest else "")
    return f"Kafka refuses user {user} {named(first)}{more}{needs}{unseen}. Grant: {grant}"
