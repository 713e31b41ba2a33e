"""What `topics export` prints for Strimzi and Terraform is what these accept, and says the same as the declarations."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.core.errors import ConfigError
from app.runtime import rights_export, topics_export
from app.runtime.rights import rights_of
from app.runtime.rights_export import merged
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.helm.chart import conform, program

#: with counts, a prefix and a limit that differ from the defaults
PREFIX = "Acme_1."
TOPICS = topics_of(Settings(topic_prefix=PREFIX, partitions=24, replication_factor=2, max_event_bytes=2_000_000))
RIGHTS = rights_of(TOPICS, PREFIX)
AWKWARD = '1{role}, O="Acme" \\ ${x} %{if}'
_PROVIDER = json.loads(Path(__file__).with_name("terraform_kafka.json").read_text("utf-8"))["resources"]
_TYPES: dict[str, type] = {"string": str, "number": int}


def accepted(text: str, folder: Path, count: int) -> list[dict[str, Any]]:
    """The resources, which the custom resource definitions of Strimzi accept."""
    done = conform(text, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Valid: {count}, Invalid: 0, Errors: 0, Skipped: 0" in done.stdout
    return list(yaml.safe_load_all(text))


def parsed(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and attributes of each resource, read by HashiCorp's parser, which the provider's schema accepts."""
    done = subprocess.run([program("hcl2json")], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for kind, resources in json.loads(done.stdout)["resource"].items():
        for (attributes,) in resources.values():
            declared = _PROVIDER[kind]
            assert {name for name, each in declared.items() if each.get("required")} <= set(attributes) <= set(declared)
            for name, value in attributes.items():
                assert isinstance(value, _TYPES.get(str(declared[name]["type"]), dict)), (name, value)
                assert value in declared[name].get("values", [value])
            yield kind, attributes


def literal(template: str) -> str:
    """A string of Terraform without interpolations, as it is applied."""
    return template.replace("$${", "${").replace("%%{", "%{")


def test_strimzi_accepts_the_topics(tmp_path: Path) -> None:
    resources = accepted(topics_export.strimzi(TOPICS), tmp_path, len(TOPICS.specs))
    assert len({each["metadata"]["name"] for each in resources}) == len(resources)
    assert [each["spec"] for each in resources] == [
        {"topicName": spec.name, "partitions": spec.partitions, "replicas": 2, "config": spec.config}
        for spec in TOPICS.specs
    ]


def test_strimzi_accepts_the_users(tmp_path: Path) -> None:
    resources = accepted(rights_export.strimzi(RIGHTS, "hook.{role}"), tmp_path, len(RIGHTS))
    assert [each["metadata"]["name"] for each in resources] == [f"hook.{role}" for role in RIGHTS]
    granted = {
        (each["metadata"]["name"], acl["resource"].get("name", "kafka-cluster"), operation)
        for each in resources
        for acl in each["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }
    assert granted == {
        (user, right.name, operation)
        for user, rights in merged(RIGHTS, "hook.{role}").items()
        for right in rights
        for operation in right.operations
    }


def test_a_user_that_strimzi_would_name_otherwise_is_refused() -> None:
    for user in ("Hook_{role}", "hook/{role}", "-{role}", "x" * 254):
        with pytest.raises(ConfigError, match="--user"):
            rights_export.strimzi(RIGHTS, user)


def test_terraform_reads_the_topics() -> None:
    read = list(parsed(topics_export.terraform(TOPICS)))
    assert read == [
        (
            "kafka_topic",
            {"name": spec.name, "partitions": spec.partitions, "replication_factor": 2, "config": spec.config},
        )
        for spec in TOPICS.specs
    ]


@pytest.mark.parametrize("users", ["hook-{role}", AWKWARD])
def test_terraform_reads_the_rights(users: str) -> None:
    read = [attributes for kind, attributes in parsed(rights_export.terraform(RIGHTS, users)) if kind == "kafka_acl"]
    granted = {
        (
            literal(each["acl_principal"]),
            each["resource_pattern_type_filter"],
            each["resource_name"],
            each["acl_operation"],
        )
        for each in read
    }
    assert granted == {
        (f"User:{user}", right.pattern.title(), right.name, operation)
        for user, rights in merged(RIGHTS, users).items()
        for right in rights
        for operation in right.operations
    }
    assert all((each["acl_host"], each["acl_permission_type"]) == ("*", "Allow") for each in read)
