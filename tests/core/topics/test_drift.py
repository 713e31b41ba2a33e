"""A plan creates and configures topics, and never lowers or deletes anything."""

from __future__ import annotations

import pytest

from app.core.topics.drift import ActualTopic, ConfigureTopic, CreateTopic, TopicDrift, plan
from tests.core.topics.declared import actual, loaded, spec


def test_an_empty_cluster_gets_everything() -> None:
    topics = loaded()
    assert plan(topics, {}) == [CreateTopic(each) for each in topics.specs]


def test_a_cluster_as_declared_needs_nothing() -> None:
    topics = loaded(prefix="p.")
    assert plan(topics, actual(topics)) == []


def test_other_topics_are_left_alone() -> None:
    topics = loaded()
    strangers = {"other": ActualTopic(partitions=1, replication=1, config={}), **actual(loaded(prefix="old."))}
    assert plan(topics, actual(topics) | strangers) == []


def test_an_applied_plan_is_empty() -> None:
    topics = loaded()
    there = actual(topics, notices=ActualTopic(partitions=1, replication=3, config={"retention.ms": "1", "mine": "x"}))
    (step,) = plan(topics, there)
    assert isinstance(step, ConfigureTopic)
    assert step.changes["retention.ms"] == ("1", "2592000000")
    assert step.changes["cleanup.policy"] == ("", "delete")
    assert "mine" not in step.changes
    assert "cleanup.policy unset → delete" in step.sentence()
    applied = ActualTopic(partitions=1, replication=3, config={name: to for name, (_, to) in step.changes.items()})
    assert plan(topics, actual(topics, notices=applied)) == []


@pytest.mark.parametrize(
    ("name", "there", "same"),
    [
        ("cleanup.policy", "delete,compact", True),
        ("cleanup.policy", "compact", False),
        ("min.cleanable.dirty.ratio", "0.10", True),
        ("min.cleanable.dirty.ratio", "0.5", False),
        ("retention.ms", "777600000.0", True),
    ],
)
def test_another_spelling_is_no_difference(name: str, there: str, same: bool) -> None:
    topics = loaded()
    wanted = spec("hookstream.fanout-idempotency-changelog")
    cluster = actual(topics)
    cluster[wanted.name] = ActualTopic(partitions=12, replication=3, config=wanted.config | {name: there})
    assert (plan(topics, cluster) == []) is same


@pytest.mark.parametrize("count", [1, 11, 13, 100])
def test_another_count_is_drift_and_never_touched(count: int) -> None:
    topics = loaded()
    wanted = spec("deliveries")
    there = ActualTopic(partitions=count, replication=3, config=dict(wanted.config))
    (step,) = plan(topics, actual(topics, deliveries=there))
    assert isinstance(step, TopicDrift)
    assert step.spec == wanted
    assert f"{count} partitions instead of 12" in step.sentence()
    assert f"HOOKSTREAM_PARTITIONS={count}" in step.sentence()


@pytest.mark.parametrize(("replicas", "drifts"), [(1, True), (2, True), (3, False), (5, False)])
def test_too_few_replicas_are_drift_and_more_are_fine(replicas: int, drifts: bool) -> None:
    topics = loaded()
    there = ActualTopic(partitions=12, replication=replicas, config=dict(spec("deliveries").config))
    steps = plan(topics, actual(topics, deliveries=there))
    assert [type(step) for step in steps] == [TopicDrift] * drifts
    assert all(f"{replicas} replicas instead of 3" in step.sentence() for step in steps)
