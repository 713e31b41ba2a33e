"""The inputs that the file of `HOOKSTREAM_INPUTS` declares."""

from __future__ import annotations

import yaml

from app.core.errors import ConfigError
from app.core.inputs.catalog import Inputs
from app.core.inputs.declaration import InputDeclaration, read_declarations
from app.core.inputs.mapping import EventLimits
from app.core.topics.declarations import GROWTH, Topics
from app.core.topics.names import TopicName
from app.settings import Settings

#: bytes of the file
_LARGEST_FILE = 1024 * 1024


def declarations(settings: Settings) -> tuple[InputDeclaration, ...]:
    """The declared inputs; none without the setting. Raises `ConfigError` with all problems of the file."""
    path = settings.inputs
    if path is None:
        return ()
    try:
        text = path.read_bytes()
        if len(text) > _LARGEST_FILE:
            raise ConfigError([f"HOOKSTREAM_INPUTS: {path} has {len(text)} bytes, more than {_LARGEST_FILE}"])
        document = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError([f"HOOKSTREAM_INPUTS: {path} cannot be read: {error}"]) from error
    try:
        return read_declarations(document)
    except ConfigError as error:
        raise ConfigError([f"HOOKSTREAM_INPUTS: {path}: {problem}" for problem in error.problems]) from error


def inputs_of(settings: Settings, topics: Topics) -> Inputs:
    """The inputs, ready for use. Raises `ConfigError`."""
    limits = EventLimits(settings.max_event_bytes, topics.limit(TopicName.EVENTS_RAW) - GROWTH)
    inputs = Inputs(declarations(settings), limits, topics.all_names())
    needing = inputs.needing_schemas()
    if needing and settings.schema_registry_url is None:
        raise ConfigError([f"HOOKSTREAM_SCHEMA_REGISTRY_URL is not set; these inputs need it: {', '.join(needing)}"])
    return inputs
