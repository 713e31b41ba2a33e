"""Words that are no names, and phrases that no reader expects: their number may only fall.

`said`, `told`, `found`, `kept` and `known` say what happened to a value, not what it is. Name a value by what it holds:
`decoded`, `current`, `existing`, `changes` (see CONTRIBUTING.md). The ceilings below are today's numbers. Whoever
removes some lowers them; a folder without a row has none.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
BANNED = {"said", "told", "found", "kept", "known"}
#: a term of HTTP, and fields of the API that say whether a registry has a name
ALLOWED = {"not_found", "tenant_known", "type_known"}
#: of docstrings and comments
PHRASES = re.compile(
    r"\b(nobody|somebody|whoever|is told|are told|tells? of|say(s|ing)? so|is said|be said|obeys?|hears?|heard"
    r"|is gone|anew|else why not|put(s|ting)? aside|passed over|lets? go|under way|what (is|was|has|waits))\b",
    re.IGNORECASE,
)

#: folder → names that contain a banned word
NAMES_CEILING: dict[str, int] = {}
#: folder → phrases in docstrings and comments
PHRASES_CEILING: dict[str, int] = {
    "app/cli/commands": 5,
    "app/core": 1,
    "app/core/model": 4,
    "app/core/offsets": 1,
    "app/core/records": 3,
    "app/core/schemas": 4,
    "app/embedded/broker": 3,
    "app/embedded/receiver": 5,
    "app/roles/dispatch": 2,
    "app/roles/dispatch/role": 1,
    "app/roles/fanout": 2,
    "app/roles/replay": 1,
    "app/roles/sequencer": 3,
}


def assigned_names(tree: ast.AST) -> Iterator[str]:
    """Variables, attributes, parameters, functions and classes where they are defined."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name


def banned_names(source: str) -> list[str]:
    return [
        name
        for name in assigned_names(ast.parse(source))
        if name not in ALLOWED and BANNED & set(name.lower().split("_"))
    ]


def prose(path: Path) -> Iterator[str]:
    """Comments and docstrings of a file."""
    with path.open("rb") as file:
        yield from (token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def by_folder(count_of: dict[Path, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path, count in count_of.items():
        counts[path.parent.relative_to(ROOT).as_posix()] += count
    return +counts


def excess(counts: Counter[str], ceilings: dict[str, int]) -> list[str]:
    """The folders above their ceiling."""
    return [
        f"{folder}: {count}, ceiling {ceilings.get(folder, 0)}"
        for folder, count in sorted(counts.items())
        if count > ceilings.get(folder, 0)
    ]


def name_counts() -> Counter[str]:
    return by_folder({path: len(banned_names(path.read_text("utf-8"))) for path in APP.rglob("*.py")})


def phrase_counts() -> Counter[str]:
    return by_folder({path: sum(len(PHRASES.findall(text)) for text in prose(path)) for path in APP.rglob("*.py")})


def test_no_new_name_says_what_happened_to_a_value() -> None:
    above = excess(name_counts(), NAMES_CEILING)
    assert not above, "rename, or lower the ceiling: " + "; ".join(above)


def test_no_new_phrase_that_a_reader_stumbles_over() -> None:
    above = excess(phrase_counts(), PHRASES_CEILING)
    assert not above, "rewrite, or lower the ceiling: " + "; ".join(above)


def test_names_are_counted_where_they_are_defined() -> None:
    source = (
        "def f(said, unknown):\n    self.last_told = said\n    for known, (kept, x) in y:\n        g(known, told)\n"
    )
    assert sorted(banned_names(source)) == ["kept", "known", "last_told", "said"]
