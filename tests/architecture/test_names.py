"""One name, one thing: a reader who searches for a class or a type finds one definition."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

APP = Path(__file__).parents[2] / "app"


def public_types(path: Path) -> Iterator[str]:
    """The names of the public classes and type aliases at the top level of a file."""
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case _:
                continue
        if name[0].isupper() and not name.isupper():
            yield name


def test_every_public_class_and_type_alias_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in sorted(APP.rglob("*.py")):
        for name in public_types(path):
            homes[name].append(path.relative_to(APP).as_posix())
    assert not {name: places for name, places in homes.items() if len(places) > 1}
