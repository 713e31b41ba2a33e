"""Which differences between the cluster and the declarations refuse a start."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.core.topics.declarations import Topics
from app.core.topics.drift import ActualTopic
from app.core.topics.start_check import judge, version_0_names, version_0_refusal
from app.runtime.topics import topics_of
from app.settings import Settings

TOPICS: Topics = topics_of(msgspec.structs.replace(Settings(), partitions=4, topic_prefix="p."))


def cluster(**changed: ActualTopic) -> dict[str, ActualTopic]:
    """As declared, but for some topics (`_` stands for a dot, `__` for a minus)."""
    topics = {
        spec.name: ActualTopic(partitions=spec.partitions, replication=spec.replication, config=dict(spec.config))
        for spec in TOPICS.specs
    }
    for name, actual in changed.items():
        topics[f"p.{name.replace('__', '-').replace('_', '.')}"] = actual
    return topics


def like(name: str, *, partitions: int | None = None, **config: str) -> ActualTopic:
    actual = cluster()[f"p.{name}"]
    return ActualTopic(
        partitions=partitions or actual.partitions,
        replication=actual.replication,
        config=actual.config | {key.replace("_", "."): value for key, value in config.items()},
    )


def test_a_cluster_as_declared_is_fine() -> None:
    assert judge(TOPICS, cluster()) == ([], [])


def test_an_odd_count_in_a_family_is_refused_with_both_ways_out() -> None:
    (sentence,) = judge(TOPICS, cluster(deliveries=like("deliveries", partitions=16))).dangers
    assert "p.deliveries has 16, the other" in sentence and "have 4" in sentence
    assert "--delete --topic p.deliveries`" in sentence and "HOOKSTREAM_TOPIC_PREFIX" in sentence
    (sentence,) = judge(TOPICS, cluster(events_raw=like("events.raw", partitions=5))).dangers
    assert "family `events`" in sentence and "p.events.raw has 5" in sentence


def test_a_whole_installation_with_another_count_is_only_logged() -> None:
    other = {
        spec.name: ActualTopic(partitions=9 if spec.family else 1, replication=spec.replication, config=spec.config)
        for spec in TOPICS.specs
    }
    judged = judge(TOPICS, other)
    assert judged.dangers == [] and any("HOOKSTREAM_PARTITIONS=9" in each for each in judged.harmless)


def test_a_topic_of_one_partition_stays_one() -> None:
    (sentence,) = judge(TOPICS, cluster(registry=like("registry", partitions=2))).dangers
    assert sentence.startswith("p.registry has 2 partitions, and must have 1")


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("registry", {"cleanup_policy": "delete"}),
        ("events.raw", {"cleanup_policy": "compact"}),
        ("deliveries", {"max_message_bytes": "1000"}),
        ("deliveries.delay.8h", {"retention_ms": "3600000"}),
        ("hookstream.fanout-idempotency-changelog", {"retention_ms": "1000"}),
    ],
)
def test_settings_that_lose_records_are_refused(name: str, config: dict[str, Any]) -> None:
    changed = cluster() | {f"p.{name}": like(name, **config)}
    (sentence,) = judge(TOPICS, changed).dangers
    assert sentence.startswith(f"p.{name}: ") and "`hookstream topics apply` sets it" in sentence


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("events.raw", {"retention_ms": "3600000"}),
        ("deliveries.delay.8h", {"retention_ms": "-1"}),
        ("deliveries", {"max_message_bytes": "99999999"}),
        ("registry", {"segment_bytes": "1000000"}),
    ],
)
def test_others_are_logged(name: str, config: dict[str, Any]) -> None:
    judged = judge(TOPICS, cluster() | {f"p.{name}": like(name, **config)})
    assert judged.dangers == []


def test_topics_of_version_0_are_named_with_the_remedy() -> None:
    names = version_0_names(TOPICS)
    assert names == ["p.hookstream.sequencer-line-changelog", "p.hookstream.sequencer-held-changelog"]
    assert not set(names) & set(TOPICS.all_names())
    assert "docs/upgrading.md" in (sentence := version_0_refusal(names[:1])) and names[0] in sentence


def test_missing_topics_are_ignored() -> None:
    left = {name: actual for name, actual in cluster().items() if name != "p.registry"}
    assert judge(TOPICS, left) == ([], [])
