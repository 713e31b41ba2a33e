"""Words that are not names, and phrases at which a native reader stops, do not occur in `app`.

`said`, `told`, `found`, `kept` and `known` say what happened to a value, not what it is. Name a value by what it holds:
`decoded`, `current`, `existing`, `changes` (see CONTRIBUTING.md). In docstrings and comments the subject is the
program, a record or the user: never "what is …", "nobody" or "whoever". Software reads, writes, sends and returns; it
does not say, hear or tell. "What is" is correct in a direct question, but a docstring asks none.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Callable, Iterator
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


def occurrences(of: Callable[[Path], list[str]]) -> list[str]:
    """`<file>: <words>` for each file of `app` that has some."""
    words = {path.relative_to(ROOT).as_posix(): of(path) for path in sorted(APP.rglob("*.py"))}
    return [f"{path}: {', '.join(each)}" for path, each in words.items() if each]


def test_a_name_says_what_a_value_is_and_not_what_happened_to_it() -> None:
    assert occurrences(lambda path: banned_names(path.read_text("utf-8"))) == []


def test_docstrings_and_comments_have_no_phrase_at_which_a_reader_stops() -> None:
    assert occurrences(lambda path: [match[0] for text in prose(path) for match in PHRASES.finditer(text)]) == []


def test_names_are_counted_where_they_are_defined() -> None:
    source = (
        "def f(said, unknown):\n    self.last_told = said\n    for known, (kept, x) in y:\n        g(known, told)\n"
    )
    assert sorted(banned_names(source)) == ["kept", "known", "last_told", "said"]
