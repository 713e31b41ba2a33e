"""Each topic's format is one file of app/core/records, and its docstring names the topic."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOPICS = sorted(path.stem for path in (ROOT / "topics").glob("*.yaml"))
RECORDS = {path.stem: path for path in (ROOT / "app/core/records").glob("*.py") if path.stem != "__init__"}
#: topic → file of app/core/records; Faust's changelogs have the tables' formats, which live with their tables
FORMATS = {
    "attempts": "attempt",
    "audit": "audit",
    "deliveries": "delivery",
    "deliveries.dead": "dead_letter",
    "deliveries.delay": "delivery",
    "deliveries.ordered": "ordered",
    "deliveries.pull": "delivery",
    "endpoints.signals": "signal",
    "events.duplicates": "duplicate",
    "events.raw": "raw_event",
    "events.rejected": "rejected",
    "notices": "notice",
    "registry": "registry",
    "registry.commands": "command",
    "registry.replies": "command",
}
#: files about no topic: the protocol of records, headers, and a changelog that two roles read
SHARED = {"headers", "idempotency_entry", "record"}


def test_every_topic_has_a_format_and_every_format_a_topic() -> None:
    assert [name for name in TOPICS if not name.endswith("-changelog")] == sorted(FORMATS)
    assert RECORDS.keys() - SHARED == set(FORMATS.values())


@pytest.mark.parametrize("topic", sorted(FORMATS))
def test_the_format_names_its_topic(topic: str) -> None:
    docstring = ast.get_docstring(ast.parse(RECORDS[FORMATS[topic]].read_text("utf-8"))) or ""
    assert topic.removesuffix(".delay") in docstring.replace("`", "")
