"""What of a cluster's answer stops a process that runs."""

from __future__ import annotations

from app.core.cluster import Expected, TopicFacts

EXPECTED = Expected({"events.raw": 4, "deliveries": 4})


def facts(**more: TopicFacts) -> dict[str, TopicFacts]:
    return {"events.raw": TopicFacts("a", 4), "deliveries": TopicFacts("b", 4), **more}


def test_unchanged_topics_cause_no_finding() -> None:
    assert EXPECTED.compare(facts()) == (None, None, ())


def test_a_count_that_was_raised_is_named_with_what_to_do() -> None:
    found = EXPECTED.compare(facts(deliveries=TopicFacts("b", 16)))
    assert found.leaders is None and found.topics is not None
    assert found.topics.startswith("deliveries has 16 partitions instead of 4:")
    assert "hookstream topics plan" in found.topics


def test_a_missing_topic_is_named() -> None:
    found = EXPECTED.compare({"events.raw": TopicFacts("a", 4)})
    assert found.topics == "deliveries is missing: run `hookstream topics apply`"


def test_a_hidden_topic_is_not_missing() -> None:
    assert EXPECTED.compare({"events.raw": TopicFacts("a", 4)}, {"deliveries"}) == (None, None, ())


def test_partitions_without_a_leader_are_named_the_first_of_them() -> None:
    found = EXPECTED.compare(facts(deliveries=TopicFacts("b", 4, (0, 1, 2, 3)), x=TopicFacts("c", 8, (5, 6))))
    assert found.leaders == "no broker leads deliveries/0, deliveries/1, deliveries/2, deliveries/3, x/5 and 1 more"
    assert found.topics is None


def test_a_recreated_topic_is_named_once() -> None:
    expected = Expected({"events.raw": 4, "deliveries": 4})
    assert expected.compare(facts()).recreated == ()
    assert expected.compare(facts(deliveries=TopicFacts("other", 4))).recreated == ("deliveries",)
    assert expected.compare(facts(deliveries=TopicFacts("other", 4))).recreated == ()
    assert Expected({}).compare({"x": TopicFacts("", 1)}).recreated == (), "old brokers have no ids"
