"""The five profiles by name, and the catalogue of their event types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from app.core.errors import ConfigError
from app.core.model.event_types import is_event_type
from app.profiles import bota, efficlose, recall, standard, voxscriber
from app.profiles.contract import Profile

PROFILES: Mapping[str, Profile] = MappingProxyType(
    {each.PROFILE.name: each.PROFILE for each in (standard, bota, efficlose, recall, voxscriber)}
)


def get(name: str) -> Profile:
    """The profile of that name; raises `ConfigError`."""
    try:
        return PROFILES[name]
    except KeyError as error:
        raise ConfigError([f"profile {name!r} is unknown: one of {', '.join(PROFILES)}"]) from error


def get_or_standard(name: str) -> Profile:
    """The profile of that name, or `standard`; for policies, where an unknown name must not raise."""
    return PROFILES.get(name) or PROFILES["standard"]


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One event type of one profile."""

    profile: str
    type: str
    title: str
    description: str
    #: JSON Schema 2020-12 of the event's data, as the whole file
    schema: bytes
    #: the event's data, compact JSON; at least one
    examples: tuple[bytes, ...]
    #: id and time of the event in the product's own documentation, where it shows one
    example_id: str | None = None
    example_created_at: str | None = None


class _ExampleEvent(msgspec.Struct):
    id: str | None = None
    created_at: str | None = None


class _File(msgspec.Struct):
    title: str
    description: str
    examples: list[msgspec.Raw]
    example_event: _ExampleEvent = msgspec.field(name="x-example-event", default_factory=_ExampleEvent)


_file = msgspec.json.Decoder(_File)


def load_catalogue(root: Path) -> Mapping[str, Mapping[str, CatalogueEntry]]:
    """Profile → type → entry, read from `<root>/<profile>/<type>.json`; raises `ConfigError` with all problems."""
    catalogue: dict[str, dict[str, CatalogueEntry]] = {name: {} for name in PROFILES}
    problems = [] if root.is_dir() else [f"event catalogue: {root} is no directory"]
    for path in sorted(root.glob("*/*.json")):
        try:
            entry = _read(path)
        except ConfigError as error:
            problems.extend(error.problems)
        else:
            catalogue[entry.profile][entry.type] = entry
    if problems:
        raise ConfigError(problems)
    return catalogue


def _read(path: Path) -> CatalogueEntry:
    profile, event_type = path.parent.name, path.name.removesuffix(".json")
    if profile not in PROFILES or not is_event_type(event_type):
        raise ConfigError([f"event catalogue: {path} is not named <profile>/<event type>.json"])
    try:
        schema = path.read_bytes()
        content = _file.decode(schema)
    except (OSError, ValueError) as error:
        raise ConfigError([f"event catalogue: {path}: {error}"]) from error
    if not content.examples:
        raise ConfigError([f"event catalogue: {path} has no example"])
    return CatalogueEntry(
        profile=profile,
        type=event_type,
        title=content.title,
        description=content.description,
        schema=schema,
        examples=tuple(msgspec.json.format(bytes(each), indent=-1) for each in content.examples),
        example_id=content.example_event.id,
        example_created_at=content.example_event.created_at,
    )
