"""The chart's resources for Strimzi: the topics and rights that the code declares."""

from __future__ import annotations

from typing import Any

import pytest

from app.runtime.rights import Right, rights_of
from app.runtime.roles import EVERYWHERE, ROLES
from app.runtime.topics import topics_of
from app.settings import Settings
from tests.helm.chart import Rendered, environment, render

PREFIX = "acme."
SETTINGS = Settings(topic_prefix=PREFIX, partitions=24, replication_factor=2)
RESOURCES = {"topic": "topic", "group": "group", "transactional_id": "transactionalId", "cluster": "cluster"}


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    """The locked-down example with other names and counts than the defaults."""
    return render("locked-down", f"kafka.topicPrefix={PREFIX}", "kafka.partitions=24", "kafka.replicationFactor=2")


def acl(right: Right) -> dict[str, Any]:
    """A right, as Strimzi spells it."""
    resource = {"type": RESOURCES[right.resource]}
    if right.resource != "cluster":
        resource |= {"name": right.name, "patternType": "prefix" if right.pattern == "prefixed" else "literal"}
    return {"resource": resource, "operations": list(right.operations), "host": "*"}


def test_every_topic_is_declared_as_topics_apply_creates_it(rendered: Rendered) -> None:
    found = {each["spec"]["topicName"]: each["spec"] for each in rendered.of_kind("KafkaTopic").values()}
    assert found == {
        spec.name: {
            "topicName": spec.name,
            "partitions": spec.partitions,
            "replicas": spec.replication,
            "config": spec.config,
        }
        for spec in topics_of(SETTINGS).specs
    }


def test_helm_never_deletes_a_topic(rendered: Rendered) -> None:
    for each in rendered.of_kind("KafkaTopic").values():
        assert each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_every_role_has_a_user_with_its_rights_alone(rendered: Rendered) -> None:
    rights = rights_of(topics_of(SETTINGS), PREFIX)
    users = {name.removeprefix("hooks-hookstream-"): each for name, each in rendered.of_kind("KafkaUser").items()}
    assert set(users) == set(EVERYWHERE)
    for role, user in users.items():
        assert user["spec"]["authorization"]["acls"] == [acl(right) for right in rights[role].rights()]


def test_the_user_of_intake_may_read_the_topics_of_inputs() -> None:
    inputs = [{"name": "orders", "topics": ["shop.orders", "shop.users"], "type": "a"}]
    users = render("locked-down", given={"inputs": inputs}).of_kind("KafkaUser")
    for name, user in users.items():
        acls = [each for each in user["spec"]["authorization"]["acls"] if "shop." in str(each)]
        read = {each["resource"]["name"]: each["operations"] for each in acls}
        wanted = {topic: ["Read", "Describe"] for topic in ("shop.orders", "shop.users")}
        assert read == (wanted if name.endswith("-intake") else {})
    refused = render("locked-down", given={"inputs": [{"name": "orders", "pattern": "shop.*", "type": "a"}]})
    assert "the input orders has a pattern: name its topics" in refused.error


def test_a_pod_has_the_password_of_its_own_user_alone(rendered: Rendered) -> None:
    pods = rendered.pods()
    assert set(pods) == set(EVERYWHERE)
    for role, pod in pods.items():
        user = environment(pod)["HOOKSTREAM_KAFKA_USERNAME"]
        assert user == f"hooks-hookstream-{role}"
        secrets = {each["secret"]["secretName"] for each in pod["spec"]["volumes"] if "secret" in each}
        assert secrets == {"hookstream", "kafka-ca", user}


def test_one_process_has_the_rights_of_all_roles() -> None:
    strimzi = ("strimzi.users=true", "strimzi.cluster=kafka", "topics.mode=none")
    sasl = ("kafka.security=sasl_ssl", "kafka.sasl.mechanism=SCRAM-SHA-512")
    (user,) = render("dev", *strimzi, *sasl).of_kind("KafkaUser").values()
    given = {
        (acl["resource"]["type"], acl["resource"].get("name"), operation)
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    }
    rights = rights_of(topics_of(Settings()), "")
    assert given == {
        (RESOURCES[right.resource], None if right.resource == "cluster" else right.name, operation)
        for role in ROLES
        for right in rights[role].rights()
        for operation in right.operations
    }


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("strimzi.cluster=", "strimzi.cluster is empty"),
        ("kafka.sasl.mechanism=PLAIN", "must be SCRAM-SHA-512"),
        ("topics.mode=job", "no role may create topics"),
        ("settings.MAX_EVENT_BYTES=1048576", "declared for the default of MAX_EVENT_BYTES"),
    ],
)
def test_values_that_strimzi_cannot_follow_are_refused(value: str, sentence: str) -> None:
    assert sentence in render("locked-down", value).error
