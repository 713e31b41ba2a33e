"""The topics, as commands for kafka-topics.sh, as Strimzi's KafkaTopic and as Terraform."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from app.core.rights import CONNECTION
from app.core.topics.declarations import Topics, TopicSpec

#: of Strimzi 0.49 and later
STRIMZI_API = "kafka.strimzi.io/v1"
#: the label that names the Kafka resource; to be changed
STRIMZI_CLUSTER = {"strimzi.io/cluster": "my-cluster"}


def commands(topics: Topics) -> str:
    """Commands of kafka-topics.sh, which leave existing topics as they are."""
    return "\n".join(map(_command, topics.specs))


def _command(spec: TopicSpec) -> str:
    config = " ".join(f"--config {name}={value}" for name, value in sorted(spec.config.items()))
    return (
        f"kafka-topics.sh {CONNECTION} --create --if-not-exists --topic {spec.name} "
        f"--partitions {spec.partitions} --replication-factor {spec.replication} {config}"
    )


def strimzi(topics: Topics) -> str:
    """One KafkaTopic for each topic; the label names the cluster and is to be changed."""
    return yaml.safe_dump_all(
        [
            {
                "apiVersion": STRIMZI_API,
                "kind": "KafkaTopic",
                "metadata": {"name": _resource_name(spec.name), "labels": STRIMZI_CLUSTER.copy()},
                "spec": {
                    "topicName": spec.name,
                    "partitions": spec.partitions,
                    "replicas": spec.replication,
                    "config": dict(sorted(spec.config.items())),
                },
            }
            for spec in topics.specs
        ],
        sort_keys=False,
    ).rstrip()


def _resource_name(topic: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", topic.lower()).strip("-")


def terraform(topics: Topics) -> str:
    """Resources of the provider Mongey/kafka."""
    return "\n\n".join("\n".join(_terraform(spec)) for spec in topics.specs)


def _terraform(spec: TopicSpec) -> Iterator[str]:
    yield f'resource "kafka_topic" "{hcl_label(spec.name)}" {{'
    yield f"  name               = {hcl_string(spec.name)}"
    yield f"  partitions         = {spec.partitions}"
    yield f"  replication_factor = {spec.replication}"
    yield "  config = {"
    for name, value in sorted(spec.config.items()):
        yield f"    {hcl_string(name)} = {hcl_string(value)}"
    yield "  }"
    yield "}"


def hcl_label(text: str) -> str:
    """A name of a resource in Terraform."""
    label = re.sub(r"[^a-z0-9]+", "_", text.lower())
    return label if label[:1].isalpha() else f"_{label.lstrip('_')}"


def hcl_string(text: str) -> str:
    """A literal string of Terraform, without control characters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("${", "$${").replace("%{", "%%{") + '"'
