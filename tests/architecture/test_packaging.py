"""What the code reads beside itself is packaged with it: an installed wheel has no repository around it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from app.data import ASYNCAPI, EVENT_TYPES, TOPICS

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"


def packaged() -> set[Path]:
    """The files that the patterns of pyproject.toml name, links followed."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    return {
        path.resolve()
        for package, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
        if path.is_file()
    }


def test_every_file_that_is_no_code_is_packaged() -> None:
    beside_code = {
        path.resolve()
        for path in APP.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and path.relative_to(APP).parts[0] != "data"
    }
    files = beside_code | {path.resolve() for path in [*TOPICS.glob("*.yaml"), *EVENT_TYPES.glob("*/*.json"), ASYNCAPI]}
    assert len(files) > 60
    assert not sorted(files - packaged())


def test_the_packaged_data_is_that_of_the_repository() -> None:
    assert TOPICS.resolve() == ROOT / "topics"
    assert EVENT_TYPES.resolve() == ROOT / "schemas" / "events"
    assert ASYNCAPI.resolve() == ROOT / "schemas" / "asyncapi.yaml"
