"""Which rights are missing, for whom, and the sentence with the command that grants them."""

from __future__ import annotations

import shlex

from app.core.rights import (
    KafkaRight,
    command_refusal,
    doubtful,
    grant_commands,
    hidden_topics,
    missing_by_role,
    operations_in,
    refusal,
)


def right(operation: str, name: str, resource: str = "topic") -> KafkaRight:
    return KafkaRight(resource=resource, name=name, operation=operation)


READ, WRITE = right("Read", "deliveries"), right("Write", "deliveries")
GROUP = right("Read", "hookstream.delay", "group")
CLUSTER = right("IdempotentWrite", "kafka-cluster", "cluster")


def test_operations_that_kafka_does_not_allow_are_doubtful() -> None:
    needed = {READ, WRITE, right("Read", "notices")}
    allowed = {"deliveries": frozenset({"Read", "Describe"}), "notices": frozenset({"Read", "Describe"})}
    assert doubtful(needed, allowed, ()) == {WRITE}


def test_bits_are_operations() -> None:
    assert operations_in(1 << 3 | 1 << 8) == frozenset({"Read", "Describe"})
    assert operations_in(0b1101_1111_1000) == frozenset({"Read", "Write", "Describe", "DescribeConfigs"})


def test_bits_that_say_nothing() -> None:
    assert operations_in(-(2**31)) is None, "the number of brokers that were not asked, or do not support it"
    assert operations_in(0) is None


def test_a_broker_that_does_not_say_leaves_no_doubt() -> None:
    assert doubtful({READ, WRITE}, {"deliveries": None}, ()) == set()


def test_a_topic_that_does_not_exist_is_no_matter_of_rights() -> None:
    assert doubtful({READ}, {}, ()) == set()


def test_everything_on_a_hidden_topic_is_doubtful() -> None:
    assert doubtful({READ, WRITE}, {}, {"deliveries"}) == {READ, WRITE}


def test_other_resources_are_always_tried() -> None:
    assert doubtful({GROUP, CLUSTER}, {}, ()) == {GROUP, CLUSTER}


def test_each_role_lacks_what_it_needs() -> None:
    needed = {"delay": {WRITE, GROUP}, "dispatch": {READ}, "api": {CLUSTER}}
    assert missing_by_role(needed, {WRITE, READ}) == {"delay": {WRITE}, "dispatch": {READ}}


def test_the_settings_of_topics_are_not_essential() -> None:
    assert WRITE.essential and GROUP.essential
    assert not right("DescribeConfigs", "deliveries").essential


def test_a_refusal_names_the_user_the_right_the_role_and_the_command() -> None:
    assert refusal("hook-delay", "delay", {WRITE}) == (
        "Kafka refuses user hook-delay Write on topic deliveries, which the role delay needs. Grant: kafka-acls.sh "
        '--bootstrap-server "$KAFKA" ${ADMIN:+--command-config "$ADMIN"} --add --allow-principal User:hook-delay '
        "--operation Write --topic deliveries"
    )


def test_rights_on_equal_resources_share_a_command() -> None:
    rights = {READ, WRITE, right("Read", "notices"), right("Write", "notices"), GROUP, CLUSTER}
    commands = [each.partition("User:u ")[2] for each in grant_commands("u", rights)]
    assert sorted(commands) == [
        "--operation IdempotentWrite --cluster",
        "--operation Read --group hookstream.delay",
        "--operation Read --operation Write --topic deliveries --topic notices",
    ]


def test_a_refusal_of_many_rights_is_bounded() -> None:
    sentence = refusal("u", "api", {right("Read", f"topic-{number:04}") for number in range(1000)})
    assert "topic-0004 and 995 more rights, which the role api needs" in sentence
    assert len(sentence) < 600 and "`hookstream topics export --format acls` prints the others" in sentence


def test_a_hidden_topic_may_not_exist() -> None:
    sentence = hidden_topics("u", ["notices"])
    assert sentence.startswith("Kafka refuses user u Describe on topic notices (a topic without Describe cannot be ")
    assert "--operation Describe --topic notices" in sentence


def test_a_command_needs_a_right_without_a_role() -> None:
    right = KafkaRight(resource="topic", name="registry", operation="Read")
    sentence = command_refusal("it's", [right])
    assert sentence.startswith("Kafka refuses user it's Read on topic registry. Grant: kafka-acls.sh ")
    assert "User:it's" in shlex.split(sentence.partition("Grant: ")[2])
