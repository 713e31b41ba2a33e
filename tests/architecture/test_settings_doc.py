"""The table of settings in docs/operations.md says what app/settings.py says: names, defaults and meanings."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import structs

from app.settings import PREFIX, Settings
from tests.architecture.field_sentences import sentences

_ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| `(HOOKSTREAM_\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
_MENTION = re.compile(r"\bHOOKSTREAM_[A-Z][A-Z_]*[A-Z]\b")
_DOCUMENTS = ("README.md", "CHANGELOG.md", "docs/*.md", "compose.yaml", "Makefile")


def expected() -> list[tuple[str, str, str]]:
    """(name, default, meaning) of every setting, in the order of the code."""
    meanings = sentences(Settings)
    return [
        (PREFIX + field.name.upper(), _shown(field.default), meanings[field.name]) for field in structs.fields(Settings)
    ]


def test_the_table_is_what_the_code_says() -> None:
    text = (_ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert _ROW.findall(text) == expected()


def test_only_real_settings_are_mentioned() -> None:
    known = {name for name, _, _ in expected()}
    files = [path for pattern in _DOCUMENTS for path in _ROOT.glob(pattern)]
    assert {_ROOT / "README.md", _ROOT / "docs/operations.md"} <= set(files)
    strangers = {
        (path.name, name)
        for path in files
        for name in _MENTION.findall(path.read_text(encoding="utf-8"))
        if not {name, name.removesuffix("_FILE")} & known
    }
    assert not strangers


def _shown(default: object) -> str:
    match default:
        case None | ():
            return "–"
        case bool():
            return f"`{str(default).lower()}`"
        case "":
            return "empty"
        case _:
            return f"`{default}`"
