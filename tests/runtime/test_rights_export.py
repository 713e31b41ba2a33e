"""The rights are written in three formats, which agree with each other."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from app.core.errors import ConfigError
from app.runtime.rights import rights_of
from app.runtime.rights_export import acls, merged, strimzi, terraform
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.secure_broker import Acl, printed_acls

RIGHTS = rights_of(topics_of(Settings(topic_prefix="acme.")), "acme.")
USERS = "hook-{role}"
EXPECTED = {
    Acl(user, right.resource.replace("_", "-"), right.name, operation)
    for user, its in merged(RIGHTS, USERS).items()
    for right in its
    for operation in right.operations
}


def test_commands_grant_each_right_to_its_user() -> None:
    text = acls(RIGHTS, USERS)
    assert {line.split()[0] for line in text.splitlines()} == {"#", "kafka-acls.sh"}
    assert set(printed_acls(text)) == EXPECTED
    assert Acl("hook-registry", "transactional-id", "acme.hookstream.registry", "Write") in EXPECTED


def test_commands_can_be_read_by_a_shell() -> None:
    assert all(shlex.split(line) for line in acls(RIGHTS, USERS).splitlines())


def test_strimzi_has_one_user_for_each_role() -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(strimzi(RIGHTS, USERS)))
    assert [each["metadata"]["name"] for each in documents] == [f"hook-{role}" for role in RIGHTS]
    kinds = {"topic": "topic", "group": "group", "transactionalId": "transactional-id", "cluster": "cluster"}
    granted = {
        Acl(
            document["metadata"]["name"],
            kinds[each["resource"]["type"]],
            each["resource"].get("name", "kafka-cluster"),
            operation,
        )
        for document in documents
        for each in document["spec"]["authorization"]["acls"]
        for operation in each["operations"]
    }
    assert granted == EXPECTED


def test_terraform_has_one_resource_for_each_operation() -> None:
    blocks = [
        dict(re.findall(r'^  (\w+) += "(.*)"$', block, re.MULTILINE))
        for block in terraform(RIGHTS, USERS).split("\n\n")
    ]
    kinds = {"Topic": "topic", "Group": "group", "TransactionalID": "transactional-id", "Cluster": "cluster"}
    granted = {
        Acl(
            each["acl_principal"].removeprefix("User:"),
            kinds[each["resource_type"]],
            each["resource_name"],
            each["acl_operation"],
        )
        for each in blocks
    }
    assert granted == EXPECTED
    labels = re.findall(r'^resource "kafka_acl" "(\w+)"', terraform(RIGHTS, USERS), re.MULTILINE)
    assert len(labels) == len(set(labels)) == len(EXPECTED)


def test_roles_can_share_one_user() -> None:
    (document,) = yaml.safe_load_all(strimzi(RIGHTS, "hook"))
    assert document["metadata"]["name"] == "hook"
    everything = {(acl.resource, acl.name, acl.operation) for acl in EXPECTED}
    assert {(acl.resource, acl.name, acl.operation) for acl in printed_acls(acls(RIGHTS, "one"))} == everything


@pytest.mark.parametrize("write", [acls, strimzi, terraform])
@pytest.mark.parametrize("user", ["", "{role}\nrm -r /"])
def test_a_user_that_would_break_the_output_is_refused(write: Callable[..., str], user: str) -> None:
    with pytest.raises(ConfigError, match="--user"):
        write(RIGHTS, user)


def test_a_principal_is_quoted_for_the_shell() -> None:
    first = acls(RIGHTS, "CN={role}, O=Ac'me $(x)").splitlines()[1]
    assert "User:CN=intake, O=Ac'me $(x)" in shlex.split(first)
