"""The file of inputs: what it may say, and that every mistake is named."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from app.core.errors import ConfigError
from app.core.inputs.declaration import MAX_INPUTS, read_declarations
from app.core.inputs.json_paths import MAX_SEGMENTS, parse_path
from tests.core.inputs.records import inputs


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        inputs(text)
    return caught.value.problems


def test_all_problems_of_a_file_are_named_at_once() -> None:
    named = problems("""
        - {name: Shop, topics: [a], type: order}
        - {name: b, type: order}
        - {name: c, topics: [a], pattern: 'a.*', type: order}
        - {name: d, topics: [d]}
        - {name: e, topics: ["e e"], type: {path: order}}
        - {name: f, topics: [f], type: {header: a, path: $.b}}
        - {name: g, topics: [g], type: {}}
        - {name: h, topics: [h], preset: cloudevents, type: a, data: {path: $}}
        - {name: i, topics: [i], typo: a}
        - {name: k, pattern: '(', type: a}
        - {name: l, topics: [l], type: {path: $, parse: true}, tenant: {path: $, unit: ms}, optional: [nothing]}
        - {name: b, topics: [z], type: a}
        - {name: m, topics: [z], type: {key: false}}
        - {name: n, topic: n, preset: debezium, tenant: {headr: a}}
        - {name: o, topics: o, 7: a}
    """)
    text = "\n".join(named)
    for expected in (
        "input Shop: name: 1 to 63",
        "input b: either `topics` or `pattern`",
        "input c: either `topics` or `pattern`",
        "input d: type: say where it comes from",
        "input e: topics: 'e e' is not a topic name",
        "input e: type.path: 'order' is not a path: it begins with $",
        "input f: type: a source has exactly one of",
        "input g: type: a source has exactly one of",
        "input h: type: a CloudEvent has its own",
        "input h: data: a CloudEvent has its own",
        "input i: typo: is not a field, one of name, topics, pattern, preset",
        "input k: pattern: '(' is not a regular expression",
        "input l: type: only `data` has `object` and `parse`",
        "input l: tenant: only `time` has `unit`",
        "input l: optional: 'nothing' is not a field",
        "input b: the name is used twice",
        "topic z belongs to the inputs b, m",
        "input m: type.key: true, or a text",
        "input n: topic: is not a field, one of name, topics",
        "input n: preset: Invalid enum value 'debezium', not one of cloudevents, debezium-cdc, debezium-outbox",
        "input n: tenant: Object contains unknown field `headr`",
        "input o: Expected `array`, got `str`",
    ):
        assert expected in text


@pytest.mark.parametrize("document", [None, [], {"inputs": {}}, {"inputs": "x"}, "text", {"input": []}])
def test_a_file_without_a_list_is_refused(document: Any) -> None:
    with pytest.raises(ConfigError, match="no list `inputs`"):
        read_declarations(document)


def test_a_file_has_a_bounded_number_of_inputs() -> None:
    many = yaml.safe_dump([{"name": f"n{number}", "topics": [f"t{number}"], "type": "a"} for number in range(101)])
    assert problems(many) == [f"101 inputs: a file has at most {MAX_INPUTS}"]


def test_own_topics_are_no_inputs() -> None:
    assert problems("[{name: a, topics: [events.raw], type: a}]") == [
        "input a: events.raw is a topic of Hookstream's own"
    ]
    everything = inputs("[{name: a, pattern: '.*', type: a}]")
    assert everything.of("events.raw") is None and everything.of("events.rejected") is None
    assert everything.of("events.rawest") is everything.compiled[0]
    subscription = re.compile(everything.subscription())
    assert not subscription.match("events.raw") and not subscription.match("events.rejected")
    assert subscription.match("events.rawest") and subscription.match("other")


def test_a_named_topic_is_preferred_to_a_pattern_and_the_first_pattern_to_others() -> None:
    several = inputs("""
        - {name: all, pattern: 'shop\\..*', type: a}
        - {name: orders, topics: [shop.orders], type: a}
        - {name: rest, pattern: '.*', type: a}
    """)
    readers = {topic: reader.name for topic in ("shop.orders", "shop.x", "y") if (reader := several.of(topic))}
    assert readers == {"shop.orders": "orders", "shop.x": "all", "y": "rest"}
    subscription = re.compile(several.subscription())
    assert not subscription.match("shop\n") or several.of("shop\n")
    assert several.unmatched(["y"]) == [
        "input orders: topic shop.orders does not exist, or Kafka hides it from this user",
        "input all: no topic matches shop\\..*, or Kafka hides them from this user",
    ]


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        (r"outbox\.event\..*", "outbox.event."),
        (r"outbox\.event\.(order|user)", "outbox.event."),
        ("shop-.+", "shop-"),
        ("shops?", "shop"),
        (r"a\.*", "a"),
        (".*", ""),
        ("a|b", ""),
        ("exact", "exact"),
    ],
)
def test_rights_cover_the_literal_prefix_of_a_pattern(pattern: str, prefix: str) -> None:
    assert inputs(yaml.safe_dump([{"name": "a", "pattern": pattern, "type": "a"}])).prefixes() == (prefix,)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("$", ()),
        ("$.a.b", ("a", "b")),
        ("$.a[0]['c.d e'].f-g_$", ("a", 0, "c.d e", "f-g_$")),
        ("$[12]", (12,)),
    ],
)
def test_paths(text: str, segments: tuple[str | int, ...]) -> None:
    assert parse_path(text) == segments


@pytest.mark.parametrize("text", ["", "a", ".a", "$a", "$.", "$..a", "$[", "$[-1]", "$[*]", "$['']", "$.a b"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        parse_path(text)


def test_a_path_has_a_bounded_length() -> None:
    with pytest.raises(ValueError, match="more than"):
        parse_path("$" + ".a" * (MAX_SEGMENTS + 1))
