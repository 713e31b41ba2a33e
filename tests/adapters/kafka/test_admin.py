"""Topics that Kafka does not create: each reason once, with the setting that helps."""

from __future__ import annotations

from app.adapters.kafka.admin import not_created

UNREPLICATED = (38, "Unable to replicate the partition 3 time(s): only 1 broker(s) are registered.")


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
