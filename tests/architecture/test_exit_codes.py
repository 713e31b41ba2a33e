"""Exit codes: the document has the table of the code, and no program ends with another one."""

from __future__ import annotations

import ast
from pathlib import Path

import app
from app.core.exit_codes import MEANINGS, ExitCode
from tests.architecture import exit_codes_doc

APP = Path(app.__file__).parent
#: the calls that end a program
_ENDS = frozenset({"Exit", "_exit", "exit"})


def test_the_document_has_the_table_of_the_code() -> None:
    assert exit_codes_doc.SECTION.read() == exit_codes_doc.generated(), "run: make generate"


def test_every_code_has_a_meaning() -> None:
    assert list(MEANINGS) == list(ExitCode)


def test_no_program_ends_with_a_number_of_its_own() -> None:
    bare = [
        f"{path.relative_to(APP)}:{node.lineno}"
        for path in APP.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _name(node.func) in _ENDS and any(map(_has_number, node.args))
    ]
    assert bare == [], "write it as ExitCode"


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _has_number(argument: ast.expr) -> bool:
    return any(isinstance(each, ast.Constant) and isinstance(each.value, int) for each in ast.walk(argument))
