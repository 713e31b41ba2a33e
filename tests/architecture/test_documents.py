"""What documents name exists: links and their headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.core import default_ports

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=[path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
)


@cache
def prose(path: Path) -> str:
    """The text without code blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


@cache
def anchors(path: Path) -> frozenset[str]:
    """The fragments of the headings, as GitHub makes them."""
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(path)))
    return frozenset(heading.replace(" ", "-") for heading in headings)


def broken(path: Path) -> Iterator[str]:
    for link in _LINK.findall(prose(path)):
        name, _, fragment = link.partition("#")
        if ":" in name:
            continue
        there = (path.parent / name).resolve() if name else path
        if not there.exists():
            yield f"{link}: there is no such file"
        elif fragment and fragment not in anchors(there):
            yield f"{link}: there is no such heading"


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    assert not list(broken(path))


@each_document
def test_recipes_ask_the_api_at_its_port(path: Path) -> None:
    ports = re.findall(r"localhost:(\d+)/v1/", path.read_text(encoding="utf-8"))
    assert set(ports) <= {str(default_ports.API)}
