"""Decisions are synchronous: only shells await."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
_ASYNC = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)


def decisions() -> Iterator[Path]:
    """The files of core, of profiles, and of each room of `app/roles` outside its shell (`role.py` or `role/`)."""
    for folder in ("core", "profiles"):
        yield from (APP / folder).rglob("*.py")
    for path in (APP / "roles").rglob("*.py"):
        _, *inside = path.relative_to(APP / "roles").with_suffix("").parts
        if inside and inside[0] != "role":
            yield path


def first_async(source: str) -> int | None:
    """The line of the first `async` or `await`; None: there is none."""
    lines = [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, _ASYNC)]
    return min(lines, default=None)


@pytest.mark.parametrize("path", sorted(decisions()), ids=lambda path: path.relative_to(APP).as_posix())
def test_no_decision_awaits(path: Path) -> None:
    line = first_async(path.read_text("utf-8"))
    assert line is None, f"line {line}: move what awaits into the room's role"


def test_asynchronous_code_is_seen() -> None:
    assert first_async("x = 1\n\n\nasync def f():\n    pass\n") == 4
    assert first_async("def f():\n    return 1\n") is None
    assert len(list(decisions())) > 60
