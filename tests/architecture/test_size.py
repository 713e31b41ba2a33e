"""Nothing grows too large to read at once, and no module is named after nothing in particular."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
MAX_FILE, MAX_BODY = 400, 40
#: names that say nothing about what is inside
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
#: longer than allowed today; to be shortened, then removed from here
OWED: set[str] = set()

FILES = sorted(APP.rglob("*.py"))


def shown(path: Path) -> str:
    return path.relative_to(APP.parent).as_posix()


def bodies(source: str) -> Iterator[tuple[str, int, int]]:
    """(name, first line, lines of the body without its docstring) of every function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            yield node.name, node.lineno, length


def test_the_rules_are_applied_to_files() -> None:
    assert len(FILES) > 50


def test_a_body_is_measured_without_its_docstring() -> None:
    first = 'def f(\n    a,\n):\n    """One.\n\n    Two."""\n    x = 1\n\n    return x\n'
    assert list(bodies(first)) == [("f", 1, 3)]
    assert list(bodies('async def g():\n    """Only words."""\n')) == [("g", 1, 0)]


def test_no_file_is_longer_than_400_lines() -> None:
    tests = sorted((APP.parent / "tests").rglob("*.py"))
    sizes = {shown(path): len(path.read_text("utf-8").splitlines()) for path in [*FILES, *tests]}
    large = [f"{name}: {lines} lines" for name, lines in sizes.items() if lines > MAX_FILE]
    assert not large, f"split by responsibility (at most {MAX_FILE} lines): " + "; ".join(large)


def test_no_function_body_is_longer_than_40_lines() -> None:
    large = {
        f"{shown(path)} {name}": f"line {line}: {length} lines"
        for path in FILES
        for name, line, length in bodies(path.read_text("utf-8"))
        if length > MAX_BODY
    }
    fresh = [f"{name}, {size}" for name, size in large.items() if name not in OWED]
    assert not fresh, f"take a step out of it (at most {MAX_BODY} lines without the docstring): " + "; ".join(fresh)
    assert large.keys() >= OWED, f"short enough now, remove from OWED: {sorted(OWED - large.keys())}"


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_a_module_is_named_after_what_it_holds(path: Path) -> None:
    empty = EMPTY_NAMES & {part.removesuffix(".py").strip("_") for part in path.relative_to(APP).parts}
    assert not empty, f"{shown(path)}: name it after what is in it"
