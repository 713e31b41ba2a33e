"""The topics of this repository, and a cluster that has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from app.core.topics.declarations import Topics, TopicSpec, load
from app.core.topics.drift import ActualTopic

FOLDER = Path(__file__).parents[3] / "topics"


DOCUMENTS: dict[str, Any] = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in FOLDER.glob("*.yaml")}


def loaded(documents: dict[str, Any] | None = None, **options: Any) -> Topics:
    arguments: dict[str, Any] = {
        "prefix": "",
        "partitions": 12,
        "replication_factor": 3,
        "max_event_bytes": 262_144,
    } | options
    return load(DOCUMENTS if documents is None else documents, **arguments)


def spec(logical: str, **options: Any) -> TopicSpec:
    return next(each for each in loaded(**options).specs if each.logical == logical)


def actual(topics: Topics, **exceptions: ActualTopic) -> dict[str, ActualTopic]:
    """A cluster that is as declared, but for the exceptions (logical names, dots as underscores)."""
    return {
        each.name: exceptions.get(
            each.logical.replace(".", "_"),
            ActualTopic(partitions=each.partitions, replication=each.replication, config=dict(each.config)),
        )
        for each in topics.specs
    }
