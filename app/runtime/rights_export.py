"""The rights of each role, as commands for kafka-acls.sh, as Strimzi's KafkaUser and as Terraform."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from app.core.errors import ConfigError
from app.core.rights import commands_for, grant_command
from app.runtime.rights import Operation, Right, RoleRights
from app.runtime.topics_export import STRIMZI_API, STRIMZI_CLUSTER, hcl_label, hcl_string

#: role → rights of its user; several roles may share one
Rights = Mapping[str, RoleRights]
_STRIMZI_RESOURCE = {"topic": "topic", "group": "group", "transactional_id": "transactionalId", "cluster": "cluster"}
_STRIMZI_PATTERN = {"literal": "literal", "prefixed": "prefix"}
_TERRAFORM_RESOURCE = {"topic": "Topic", "group": "Group", "transactional_id": "TransactionalID", "cluster": "Cluster"}


#: what Kubernetes takes as the name of a KafkaUser
_RESOURCE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def user_of(template: str, role: str) -> str:
    """The Kafka user of a role; `{role}` in the template stands for its name. Raises `ConfigError`."""
    user = template.replace("{role}", role)
    if not user or not user.isprintable():
        raise ConfigError([f"--user {user!r}: a Kafka user has at least one character, and only printable ones"])
    return user


def merged(rights: Rights, template: str) -> dict[str, list[Right]]:
    """User → its rights, sorted; roles that share a user have the rights of all of them."""
    operations: dict[str, dict[tuple[Any, str, Any], list[Operation]]] = {}
    for role, its in rights.items():
        of_user = operations.setdefault(user_of(template, role), {})
        for right in its.rights():
            listed = of_user.setdefault((right.resource, right.name, right.pattern), [])
            listed += [each for each in right.operations if each not in listed]
    return {
        user: sorted(Right(resource, name, tuple(each), pattern) for (resource, name, pattern), each in of_user.items())
        for user, of_user in operations.items()
    }


def acls(rights: Rights, template: str) -> str:
    """Commands of kafka-acls.sh; resources with equal operations share one."""
    lines = []
    for user, its in merged(rights, template).items():
        literal = [right for right in its if right.pattern == "literal"]
        needed = ((right.resource.replace("_", "-"), right.name, right.operations) for right in literal)
        lines += [f"# {user}", *commands_for(user, needed)]
        lines += [
            grant_command(user, right.resource.replace("_", "-"), right.operations, [right.name], prefixed=True)
            for right in its
            if right.pattern == "prefixed"
        ]
    return "\n".join(lines)


def strimzi(rights: Rights, template: str) -> str:
    """One KafkaUser for each user; the label names the cluster and is to be changed.

    Raises `ConfigError` for users that cannot be named so: the resource's name is the user's.
    """
    return yaml.safe_dump_all(
        [
            {
                "apiVersion": STRIMZI_API,
                "kind": "KafkaUser",
                "metadata": {"name": _resource_name(user), "labels": STRIMZI_CLUSTER.copy()},
                "spec": {
                    "authentication": {"type": "scram-sha-512"},
                    "authorization": {"type": "simple", "acls": [_strimzi_acl(right) for right in its]},
                },
            }
            for user, its in merged(rights, template).items()
        ],
        sort_keys=False,
    ).rstrip()


def _strimzi_acl(right: Right) -> dict[str, Any]:
    resource: dict[str, str] = {"type": _STRIMZI_RESOURCE[right.resource]}
    if right.resource != "cluster":
        resource |= {"name": right.name, "patternType": _STRIMZI_PATTERN[right.pattern]}
    return {"resource": resource, "operations": list(right.operations), "host": "*"}


def _resource_name(user: str) -> str:
    if len(user) > 253 or not _RESOURCE_NAME.fullmatch(user):
        raise ConfigError(
            [
                f"--user {user}: Strimzi names the Kafka user after its KafkaUser, and Kubernetes takes only "
                "lower-case letters, digits, `-` and `.` in that name"
            ]
        )
    return user


def terraform(rights: Rights, template: str) -> str:
    """Resources of the provider Mongey/kafka."""
    return "\n\n".join(_terraform(rights, template))


def _terraform(rights: Rights, template: str) -> Iterator[str]:
    for user, its in merged(rights, template).items():
        for right in its:
            for operation in right.operations:
                yield (
                    f'resource "kafka_acl" "{hcl_label(f"{user}_{right.resource}_{right.name}_{operation}")}" {{\n'
                    f"  resource_name                = {hcl_string(right.name)}\n"
                    f'  resource_type                = "{_TERRAFORM_RESOURCE[right.resource]}"\n'
                    f'  resource_pattern_type_filter = "{right.pattern.title()}"\n'
                    f"  acl_principal                = {hcl_string(f'User:{user}')}\n"
                    f'  acl_host                     = "*"\n'
                    f'  acl_operation                = "{operation}"\n'
                    f'  acl_permission_type          = "Allow"\n'
                    "}"
                )
