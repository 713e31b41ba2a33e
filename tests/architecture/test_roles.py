"""Everything that lists the roles lists those of app/runtime/roles.py."""

from __future__ import annotations

import re
import tomllib
from typing import Any, get_type_hints

from app.cli.commands.run import run
from app.runtime.roles import ROLES
from tests.architecture import rights_doc, roles_doc
from tests.architecture.section import ROOT

#: the role `api` is app/api/
ROOMS = {f"app.roles.{name}" for name in ROLES if name != "api"}


def contracts() -> list[dict[str, Any]]:
    """The import contracts of pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    result: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return result


def rooms_in(modules: list[str]) -> set[str]:
    """The folders of roles among modules."""
    return {module for module in modules if re.fullmatch(r"app\.roles\.\w+", module) and module in ROOMS}


def test_every_role_has_a_folder_and_every_folder_a_role() -> None:
    folders = {f"app.roles.{path.parent.name}" for path in (ROOT / "app/roles").glob("*/__init__.py")}
    assert folders == ROOMS


def test_the_import_contracts_name_every_role() -> None:
    independence = next(each for each in contracts() if each["type"] == "independence")
    assert set(independence["modules"]) == ROOMS
    pure = next(each for each in contracts() if "app.runtime.watchdog" in each.get("source_modules", ()))
    assert rooms_in(pure["source_modules"]) == ROOMS
    shells = [each for each in contracts() if "app.roles.fanout.role" in each.get("forbidden_modules", ())]
    assert [set(each["forbidden_modules"]) for each in shells] == [{f"{room}.role" for room in ROOMS}]


def test_the_table_of_operations_agrees_with_the_code() -> None:
    assert roles_doc.SECTION.read() == roles_doc.generated(), "run: make generate"


def test_the_table_of_rights_agrees_with_the_code() -> None:
    assert rights_doc.SECTION.read() == rights_doc.generated(), "run: make generate"


def test_the_documents_name_every_role() -> None:
    table = (ROOT / "docs/architecture.md").read_text("utf-8").partition("## The roles")[2].partition("\n\n**")[0]
    assert set(re.findall(r"^\| (\w+) \|", table, re.M)) - {"role"} == set(ROLES)


def test_the_picture_of_the_readme_shows_every_role() -> None:
    picture = (ROOT / "README.md").read_text("utf-8").partition("```\n")[2].partition("```")[0]
    assert set(re.findall(r"\[(\w+)\]", picture)) == set(ROLES)


def test_the_help_of_run_names_every_role() -> None:
    argument = get_type_hints(run, include_extras=True)["roles"].__metadata__[0]
    assert set(re.findall(r"\w+", argument.help)) >= set(ROLES)
