"""The topics of this installation: topics/*.yaml with the settings' names and counts."""

from __future__ import annotations

from pathlib import Path

import yaml

import app
from app.core.errors import ConfigError
from app.core.topics import Topics, load
from app.settings import Settings

FOLDER = Path(app.__file__).parent.parent / "topics"


def topics_of(settings: Settings) -> Topics:
    """All topics by logical name; raises `ConfigError` with everything that is wrong in the files."""
    try:
        documents = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.yaml"))}
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError([f"the topic declarations in {FOLDER} cannot be read: {error}"]) from error
    return load(
        documents,
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        replication_factor=settings.replication_factor,
        max_event_bytes=settings.max_event_bytes,
    )
