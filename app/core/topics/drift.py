"""The steps that make the topics of a cluster match their declarations."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from app.core.topics.declarations import Topics, TopicSpec


class ActualTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it is in the cluster."""

    partitions: int
    replication: int
    config: dict[str, str]


class CreateTopic(msgspec.Struct, frozen=True, tag="create"):
    """Create a missing topic."""

    spec: TopicSpec

    def sentence(self) -> str:
        """One sentence for the user."""
        return f"create {self.spec.name}: {self.spec.partitions} partitions, {self.spec.replication} replicas"


class ConfigureTopic(msgspec.Struct, frozen=True, tag="configure"):
    """Change settings of a topic; `changes` maps names to (current, wanted)."""

    spec: TopicSpec
    changes: dict[str, tuple[str, str]]

    def sentence(self) -> str:
        """One sentence for the user."""
        listed = ", ".join(f"{name} {was or 'unset'} → {to}" for name, (was, to) in sorted(self.changes.items()))
        return f"configure {self.spec.name}: {listed}"


class TopicDrift(msgspec.Struct, frozen=True, tag="drift"):
    """A difference that `apply` does not touch."""

    spec: TopicSpec
    problem: str

    def sentence(self) -> str:
        """One sentence for the user."""
        return f"drift of {self.spec.name}: {self.problem}"


TopicStep = CreateTopic | ConfigureTopic | TopicDrift


def plan(topics: Topics, actual: Mapping[str, ActualTopic]) -> list[TopicStep]:
    """The differences between the cluster and the declarations, in the order in which they would be resolved."""
    steps: list[TopicStep] = []
    for spec in topics.specs:
        there = actual.get(spec.name)
        if there is None:
            steps.append(CreateTopic(spec))
            continue
        if there.partitions != spec.partitions:
            steps.append(TopicDrift(spec, _count_problem(spec, there)))
        if there.replication < spec.replication:
            steps.append(
                TopicDrift(
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
            steps.append(ConfigureTopic(spec, changes))
    return steps


def _same(there: str, wanted: str) -> bool:
    if there == wanted or sorted(there.split(",")) == sorted(wanted.split(",")):
        return True
    try:
        return float(there) == float(wanted)
    except ValueError:
        return False


def _count_problem(spec: TopicSpec, there: ActualTopic) -> str:
    return (
        f"{there.partitions} partitions instead of {spec.partitions}: counts are frozen, because keys would move away "
        f"from their tables and waiting retries; set HOOKSTREAM_PARTITIONS={there.partitions}, or use another "
        "HOOKSTREAM_TOPIC_PREFIX for a new installation"
    )
