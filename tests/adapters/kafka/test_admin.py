"""Topics that Kafka does not create: each reason once, with the setting that helps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.adapters.kafka import admin
from app.adapters.kafka.admin import KafkaAdmin, not_created
from app.core.errors import ConfigError
from app.core.topics.declarations import TopicSpec
from app.core.topics.drift import CreateTopic
from tests.kafka import clients_at

UNREPLICATED = (38, "Unable to replicate the partition 3 time(s): only 1 broker(s) are registered.")
FENCED = (38, "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log")


def test_a_reason_of_many_topics_is_named_once_with_its_setting() -> None:
    (problem,) = not_created(
        [(name, *UNREPLICATED) for name in ("attempts", "audit", "deliveries", "notices", "registry")]
    )
    assert problem.startswith("Kafka did not create 5 topics (attempts, audit, deliveries and 2 more): Unable")
    assert problem.endswith("registered. Set HOOKSTREAM_REPLICATION_FACTOR to the number of brokers at most.")


def test_other_reasons_have_sentences_of_their_own_and_an_existing_topic_is_none() -> None:
    errors = [("a", 0, None), ("b", 36, "exists"), ("c", 29, None), ("d", *UNREPLICATED)]
    denied, unreplicated = not_created(errors)
    assert denied == "Kafka did not create the topic c: TopicAuthorizationFailedError."
    assert unreplicated.startswith("Kafka did not create the topic d: ")


@pytest.mark.parametrize(("answers", "created"), [([FENCED, FENCED, (0, None)], True), ([FENCED] * 41, False)])
async def test_the_creation_of_topics_is_repeated_while_the_brokers_are_fenced(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, str | None]], created: bool
) -> None:
    """A broker that was suspended for a moment is fenced until its next heartbeat."""
    monkeypatch.setattr(admin, "_FENCED_S", 0)
    left = iter(answers)

    async def create_topics(*_: Any, **__: Any) -> Any:
        return SimpleNamespace(topic_errors=[("a", *next(left))])

    async def describe_topics(_: list[str]) -> list[dict[str, Any]]:
        return [{"topic": "a", "error_code": 0, "partitions": [{"leader": 1}]}]

    client = KafkaAdmin(clients_at("127.0.0.1:9"))
    monkeypatch.setattr(
        client, "_client", SimpleNamespace(create_topics=create_topics, describe_topics=describe_topics)
    )
    steps = [CreateTopic(TopicSpec(logical="a", name="a", partitions=1, replication=1, config={}))]
    if created:
        assert await client.apply(steps) == [steps[0].sentence()]
    else:
        with pytest.raises(ConfigError, match="currently fenced"):
            await client.apply(steps)
    assert next(left, None) is None
