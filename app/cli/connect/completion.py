"""Shell completion: names that are available without a request to the API."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from pathlib import Path

import typer

from app.cli.connect import contexts_file
from app.data import EVENT_TYPES
from app.profiles.catalog import PROFILES


def modes(incomplete: str) -> list[str]:
    """live and test."""
    return _begin(["live", "test"], incomplete)


def wire_formats(incomplete: str) -> list[str]:
    """The profiles of endpoints."""
    return _begin(PROFILES, incomplete)


def statuses(incomplete: str) -> list[str]:
    """Completions for the status of an endpoint."""
    return _begin(["active", "paused", "disabled", "unverified"], incomplete)


def event_types(incomplete: str) -> list[str]:
    """The types of the catalogue, by their files' names."""
    return _begin(sorted({path.stem for path in EVENT_TYPES.glob("*/*.json")}), incomplete)


def event_patterns(incomplete: str) -> list[str]:
    """A comma-separated list of types, prefixes and `*`: its last word is completed."""
    before, comma, last = incomplete.rpartition(",")
    types = event_types("")
    prefixes = sorted({f"{name.partition('.')[0]}.*" for name in types if "." in name})
    return [f"{before}{comma}{word}" for word in _begin(["*", *prefixes, *types], last)]


def context_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names in the file of contexts; none if it cannot be read."""
    file = ctx.params.get("api_config")
    path = Path(str(file)).expanduser() if file else contexts_file.default_path(os.environ)
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8")).get("context", {})
    except (OSError, ValueError):
        return []
    return _begin(sections, incomplete) if isinstance(sections, dict) else []


def _begin(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
