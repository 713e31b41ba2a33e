"""The declarations of this repository are complete, and errors in them are reported together."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import ConfigError
from app.core.table_recovery import TRUSTED_S
from app.core.topics.names import RUNGS, TopicName
from app.runtime.build.streams import TABLES
from tests.core.topics.declared import DOCUMENTS, loaded, spec

DAY_MS = 86_400_000


ROLES_USE = [
    TopicName.EVENTS_RAW,
    TopicName.EVENTS_REJECTED,
    TopicName.EVENTS_DUPLICATES,
    TopicName.REGISTRY_COMMANDS,
    TopicName.REGISTRY,
    TopicName.REGISTRY_REPLIES,
    TopicName.ENDPOINTS_SIGNALS,
    TopicName.NOTICES,
    TopicName.AUDIT,
    TopicName.DELIVERIES,
    TopicName.DELIVERIES_DEAD,
    TopicName.DELIVERIES_ORDERED,
    TopicName.DELIVERIES_PULL,
    TopicName.ATTEMPTS,
    TopicName.SEQUENCER_QUEUES,
    TopicName.SEQUENCER_WAITING,
    *(f"deliveries.delay.{rung}" for rung, _ in RUNGS),
]


def problems(documents: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(documents, **options)
    return caught.value.problems


def test_each_file_is_named_after_its_topic() -> None:
    assert list(DOCUMENTS) == [f"{document['name']}.yaml" for document in DOCUMENTS.values()]


def test_every_rung_has_a_topic() -> None:
    names = loaded().all_names()
    assert [name for name in names if name.startswith(TopicName.DELIVERIES_DELAY)] == sorted(
        f"deliveries.delay.{rung}" for rung, _ in RUNGS
    )
    assert len(names) == len(set(names))


def test_a_delivery_has_the_same_partition_number_in_every_topic_of_its_family() -> None:
    family = {"deliveries", "deliveries.ordered", "deliveries.dead", "attempts", "endpoints.signals"}
    counts = {
        each.partitions
        for each in loaded(partitions=7).specs
        if each.logical in family or each.logical.startswith("deliveries.delay.")
    }
    assert counts == {7}


def test_tables_have_as_many_partitions_as_the_topic_that_they_follow() -> None:
    changelogs = [each for each in loaded(partitions=7).specs if each.logical.endswith("-changelog")]
    assert {each.partitions for each in changelogs} == {spec("events.raw", partitions=7).partitions} == {7}
    assert all("compact" in each.config["cleanup.policy"] for each in changelogs)


@pytest.mark.parametrize("logical", ["registry", "registry.commands", "registry.replies", "notices"])
def test_topics_with_a_total_order_have_one_partition(logical: str) -> None:
    assert spec(logical, partitions=7).partitions == 1


def test_a_waiting_retry_outlives_its_retention() -> None:
    longest_schedule_ms, factor_for_jitter = 7 * DAY_MS, 1.1
    for rung, _ in RUNGS:
        assert int(spec(f"deliveries.delay.{rung}").config["retention.ms"]) > longest_schedule_ms * factor_for_jitter


def test_accepted_records_are_stored_for_as_long_as_events_can_be_replayed() -> None:
    raw, changelog = (spec(name).config for name in ("events.raw", "hookstream.fanout-idempotency-changelog"))
    # A segment goes when its youngest record is old enough: its oldest one is older by what a segment spans.
    oldest_ms = int(raw["retention.ms"]) + int(raw["segment.ms"])
    cleaners_pause_ms = 3_600_000
    store_ms = (TABLES["idempotency"] or 0) * 1000
    assert store_ms == int(changelog["retention.ms"]) >= oldest_ms + cleaners_pause_ms
    assert TABLES["ordering"] is None
    assert spec("hookstream.fanout-ordering-changelog").config["cleanup.policy"] == "compact"


def test_duplicates_have_the_retention_of_rejected_records() -> None:
    rejected, duplicates = spec("events.rejected"), spec("events.duplicates")
    assert duplicates.config["retention.ms"] == rejected.config["retention.ms"] == str(14 * DAY_MS)
    assert duplicates.partitions == spec("events.raw").partitions


def test_topics_with_events_have_the_same_limit() -> None:
    carriers = ["events.raw", "events.rejected", "deliveries", "deliveries.ordered", "deliveries.dead"]
    carriers += [f"deliveries.delay.{rung}" for rung, _ in RUNGS]
    for max_event_bytes, wanted in ((262_144, 1_048_588), (8 * 1024 * 1024, 8 * 1024 * 1024 + 65_536)):
        limits = {spec(name, max_event_bytes=max_event_bytes).config["max.message.bytes"] for name in carriers}
        assert limits == {str(wanted)}


def test_a_prefix_is_put_before_every_name() -> None:
    topics = loaded(prefix="acme.")
    assert topics.all_names() == [f"acme.{name}" for name in loaded().all_names()]
    assert topics.name(TopicName.DELIVERIES) == "acme.deliveries"


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2"), (5, "4")])
def test_one_broker_may_be_away_where_there_are_more_than_two(replication: int, in_sync: str) -> None:
    for each in loaded(replication_factor=replication).specs:
        assert (each.replication, each.config["min.insync.replicas"]) == (replication, in_sync)


@pytest.mark.parametrize("missing", [name for name in ROLES_USE if "delay" not in name])
def test_a_missing_declaration_is_reported(missing: str) -> None:
    rest = {name: document for name, document in DOCUMENTS.items() if name != f"{missing}.yaml"}
    assert problems(rest) == [f"no file declares the topic {missing}"]


def test_a_missing_rung_is_reported() -> None:
    delay = DOCUMENTS["deliveries.delay.yaml"]
    without = delay | {"rungs": [rung for rung in delay["rungs"] if rung != "5m"]}
    (problem,) = problems(DOCUMENTS | {"deliveries.delay.yaml": without})
    assert problem == "no file declares the topic deliveries.delay.5m"


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (None, "x.yaml"),
        ([], "x.yaml"),
        ({"partitions": "some"}, "$.partitions"),
        ({"colour": "red"}, "colour"),
        ({"config": {"a": []}}, "$.config"),
        ({"rungs": "1s"}, "$.rungs"),
    ],
)
def test_an_invalid_file_is_named_with_the_error(document: Any, place: str) -> None:
    broken = DOCUMENTS["notices.yaml"] | document if isinstance(document, dict) else document
    (problem,) = problems(DOCUMENTS | {"x.yaml": broken})
    assert problem.startswith("x.yaml: ")
    assert place in problem


def test_all_problems_are_reported_at_once() -> None:
    reported = problems({"x.yaml": None, "notices.yaml": DOCUMENTS["notices.yaml"]}, prefix="a b ")
    assert reported[0].startswith("x.yaml: ")
    assert reported[1] == "notices.yaml: 'a b notices' is not a topic name"
    assert reported[2:] == sorted(
        f"no file declares the topic {name}" for name in ROLES_USE if name != TopicName.NOTICES
    )


def test_folders_are_trusted_for_less_time_than_a_changelog_stays_whole() -> None:
    whole_ms = int(spec("hookstream.sequencer-queues-changelog").config["min.compaction.lag.ms"])
    assert whole_ms >= TRUSTED_S * 1000 + 600_000
